//! The second factor: codes of an app on the user's phone (TOTP, RFC 6238: SHA-1, six digits, 30 seconds, as all such apps
//! make them), and recovery codes for when the phone, or the device with the passkey, is gone.
//!
//! A code is good for its half minute and for the one before and after, since clocks differ; and it is good once. What the
//! codes are made of is sealed by the node's key; recovery codes are kept as hashes.

use rand::Rng as _;
use ring::hmac;
use stet_domain::access::Scopes;
use stet_domain::{Actor, ActorKind, LogDate, Login, Profile};
use stet_store::node::{AuditOutcome, NewAuditEvent, SecondFactor, Session, SessionMethod, TokenHash};

use crate::App;
use crate::clock::after_s;
use crate::config::SecondFactorPolicy;
use crate::error::AppError;
use crate::passkeys::{PasskeyAnswer, PasskeyRequest};
use crate::password::secret_hash;
use crate::secrets::Context;
use crate::users::parse_login;

/// How long a code is good, in seconds.
const STEP_S: i64 = 30;

/// How many codes before and after the present one are good.
const STEPS_AROUND: i64 = 1;

/// The bytes that codes are made of (RFC 4226, section 4: 160 bits).
const SECRET_BYTES: usize = 20;

/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;

/// The bytes of a recovery code: 80 bits are found by no guessing.
const RECOVERY_BYTES: usize = 10;

/// How many wrong codes a user has in [`ATTEMPTS_WINDOW_S`], from everywhere together. Only whoever knows the password gets
/// so far, so nobody else can use them up. One in 333,333 guesses is right.
pub const CODE_ATTEMPTS_MAX: u64 = 10;

/// The time over which wrong codes count, in seconds.
const ATTEMPTS_WINDOW_S: i64 = 15 * 60;

/// How the second factor of a user stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactorState {
    /// Since when it is in force; none if it is not.
    pub since: Option<LogDate>,
    /// How many recovery codes are left.
    pub recovery_codes: u32,
    /// How many passkeys there are.
    pub passkeys: usize,
    /// Whether the node asks this user for one.
    pub required: bool,
}

/// What somebody whose password is right is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactorAsked {
    /// Whether a code will do.
    pub codes: bool,
    /// Whether there are recovery codes left, one of which will do.
    pub recovery_codes: bool,
    /// What a passkey has to answer, if one will do.
    pub passkey: Option<PasskeyRequest>,
}

/// A second factor that was begun. Without `Debug`, so that it is never logged.
pub struct Enrolment {
    /// What the codes are made of, in base32, to be typed.
    pub secret: String,
    /// The same with all that an app wants to know (`otpauth://`).
    pub uri: String,
    /// The same as a QR code, an SVG document.
    pub qr_code: String,
}

impl App {
    /// How the actor's second factor stands.
    ///
    /// # Errors
    /// When the actor is no user in a session.
    pub async fn second_factor(&self, actor: &Actor) -> Result<SecondFactorState, AppError> {
        require_user(actor)?;
        let factor = self.inner.node.second_factor(&actor.login).await?;
        Ok(SecondFactorState {
            since: factor.and_then(|factor| factor.confirmed_at),
            recovery_codes: self.inner.node.recovery_codes(&actor.login).await?,
            passkeys: self.inner.node.passkeys(&actor.login).await?.len(),
            required: self.asks_for_second_factor(actor.profile),
        })
    }

    /// Begins a second factor: it is in force once its first code is shown.
    ///
    /// # Errors
    /// When the password is not the actor's, or a second factor is in force.
    pub async fn begin_second_factor(
        &self,
        actor: &Actor,
        session: &str,
        password: String,
    ) -> Result<Enrolment, AppError> {
        require_user(actor)?;
        let entry = self.entry(actor, "second_factor.begin", format!("user {}", actor.login), "");
        self.check_own_password(actor, session, password, entry.clone()).await?;
        let mut secret = [0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut secret);
        let context = Context::second_factor(self.inner.node_id, actor.login.as_str());
        let sealed = self.inner.keys.seal(&context, &secret)?;
        self.inner.node.audited(entry).begin_second_factor(&actor.login, sealed, self.inner.clock.now()).await?;
        let secret = base32(&secret);
        let uri = uri(&self.inner.config.name, actor.login.as_str(), &secret);
        let code = qrcode::QrCode::new(uri.as_bytes()).map_err(AppError::internal)?;
        let qr_code = code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(200, 200).build();
        Ok(Enrolment { secret, uri, qr_code })
    }

    /// Puts the second factor that was begun in force by its first code, and gives recovery codes, which are shown this once.
    /// Sessions that were begun with the password alone end, but for this one.
    ///
    /// # Errors
    /// When none was begun, or the code is wrong.
    pub async fn confirm_second_factor(
        &self,
        actor: &Actor,
        session: &str,
        code: &str,
    ) -> Result<Vec<String>, AppError> {
        require_user(actor)?;
        let begun = self.inner.node.second_factor(&actor.login).await?.filter(|factor| factor.confirmed_at.is_none());
        let factor = begun
            .ok_or_else(|| AppError::Conflict("no second factor was begun: begin with the password".to_owned()))?;
        let mut entry = self.entry(actor, "second_factor.confirm", format!("user {}", actor.login), "");
        self.check_code_attempts(&actor.login).await?;
        let now = self.inner.clock.now();
        let Some(step) = self.step_of_code(&actor.login, &factor, code)? else {
            entry.outcome = AuditOutcome::Refused;
            self.count_wrong_code(&actor.login, entry).await?;
            return Err(AppError::Invalid(WRONG_CODE.to_owned()));
        };
        let (codes, hashes) = new_recovery_codes();
        let session = secret_hash(session);
        let node = self.inner.node.audited(entry);
        node.confirm_second_factor(&actor.login, factor.sealed_secret, step, hashes, session, now).await?;
        Ok(codes)
    }

    /// Gives the actor new recovery codes, which are shown this once. The ones before open nothing any more.
    ///
    /// # Errors
    /// When the password is not the actor's, or there is no second factor that they could stand in for.
    pub async fn renew_recovery_codes(
        &self,
        actor: &Actor,
        session: &str,
        password: String,
    ) -> Result<Vec<String>, AppError> {
        require_user(actor)?;
        let entry = self.entry(actor, "second_factor.recovery_codes", format!("user {}", actor.login), "");
        self.check_own_password(actor, session, password, entry.clone()).await?;
        let state = self.second_factor(actor).await?;
        if state.since.is_none() && state.passkeys == 0 {
            return Err(AppError::Conflict("you have no second factor: set one up first".to_owned()));
        }
        let (codes, hashes) = new_recovery_codes();
        self.inner.node.audited(entry).renew_recovery_codes(&actor.login, hashes).await?;
        Ok(codes)
    }

    /// Takes the actor's second factor away.
    ///
    /// # Errors
    /// When the password is not the actor's, there is none in force, or the node asks for one.
    pub async fn remove_second_factor(&self, actor: &Actor, session: &str, password: String) -> Result<(), AppError> {
        require_user(actor)?;
        let entry = self.entry(actor, "second_factor.remove", format!("user {}", actor.login), "by the user");
        self.check_own_password(actor, session, password, entry.clone()).await?;
        let passkeys = self.inner.node.passkeys(&actor.login).await?;
        if passkeys.is_empty() && self.asks_for_second_factor(actor.profile) {
            return Err(AppError::Conflict(
                "this node asks for a second factor: an administrator resets it, and you set up another".to_owned(),
            ));
        }
        if !self.inner.node.audited(entry).remove_second_factor(&actor.login).await? {
            return Err(AppError::Conflict("you have no second factor".to_owned()));
        }
        Ok(())
    }

    /// Takes the second factor of a user away who cannot show it any more, and ends the user's sessions.
    ///
    /// # Errors
    /// When the actor is no administrator, or the user has none.
    pub async fn reset_second_factor(&self, actor: &Actor, login: &str) -> Result<(), AppError> {
        self.require_administrator(actor)?;
        let login = parse_login(login)?;
        let entry = self.entry(actor, "second_factor.reset", format!("user {login}"), "");
        let node = &self.inner.node;
        if node.user(login.as_str()).await?.is_none()
            || (node.second_factor(&login).await?.is_none() && node.passkeys(&login).await?.is_empty())
        {
            return Err(AppError::not_found(format!("second factor of `{login}`")));
        }
        self.inner.node.audited(entry).reset_second_factor(&login).await?;
        self.inner.node.delete_sessions_of(&login).await?;
        Ok(())
    }

    /// Whether the node asks users of this profile for a second factor.
    pub(crate) fn asks_for_second_factor(&self, profile: Profile) -> bool {
        match self.inner.config.login.second_factor {
            SecondFactorPolicy::Optional => false,
            SecondFactorPolicy::Admins => profile == Profile::Admin,
            SecondFactorPolicy::Everybody => true,
        }
    }

    /// Whether a session may do nothing but set up the second factor that the node asks for.
    pub(crate) fn is_second_factor_due(&self, session: &Session) -> bool {
        session.method == SessionMethod::Password && self.asks_for_second_factor(session.user.profile)
    }

    /// Looks at the second factor of somebody whose password is right; how the session was begun then.
    ///
    /// # Errors
    /// `SecondFactorNeeded` when there is one and neither a code nor a passkey; `WrongCode`; `Invalid` when the passkey is
    /// not right; `TooManyAttempts`.
    pub(crate) async fn check_second_factor(
        &self,
        login: &Login,
        code: Option<&str>,
        passkey: Option<&PasskeyAnswer>,
        mut entry: NewAuditEvent,
    ) -> Result<SessionMethod, AppError> {
        let factor = self.inner.node.second_factor(login).await?.filter(|factor| factor.confirmed_at.is_some());
        if factor.is_none() && self.inner.node.passkeys(login).await?.is_empty() {
            return Ok(SessionMethod::Password);
        }
        if let Some(answer) = passkey {
            self.check_code_attempts(login).await?;
            return match self.check_passkey(login, answer).await {
                Ok(()) => Ok(SessionMethod::SecondFactor),
                Err(error @ AppError::Invalid(_)) => {
                    self.count_wrong_code(login, App::refused_passkey(entry, &error)).await?;
                    Err(error)
                }
                Err(error) => Err(error),
            };
        }
        let Some(code) = code.map(str::trim).filter(|code| !code.is_empty()) else {
            let asked = SecondFactorAsked {
                codes: factor.is_some(),
                recovery_codes: self.inner.node.recovery_codes(login).await? > 0,
                passkey: self.ask_for_passkey(login).await?,
            };
            return Err(AppError::SecondFactorNeeded(Box::new(asked)));
        };
        self.check_code_attempts(login).await?;
        let step = factor.as_ref().map(|factor| self.step_of_code(login, factor, code)).transpose()?.flatten();
        let taken = match step {
            // The same code again is somebody's who looked on.
            Some(step) => self.inner.node.take_step(login, step).await?,
            None => {
                let node = &self.inner.node;
                let taken = node.take_recovery_code(login, recovery_hash(code), self.inner.clock.now()).await?;
                if taken {
                    let mut used = entry.clone();
                    used.action = "second_factor.recovery".to_owned();
                    used.outcome = AuditOutcome::Done;
                    used.detail = format!("{} are left", node.recovery_codes(login).await?);
                    self.note(used).await?;
                }
                taken
            }
        };
        if taken {
            return Ok(SessionMethod::SecondFactor);
        }
        entry.outcome = AuditOutcome::Refused;
        entry.detail = "wrong code of the second factor".to_owned();
        self.count_wrong_code(login, entry).await?;
        Err(AppError::WrongCode)
    }

    async fn check_code_attempts(&self, login: &Login) -> Result<(), AppError> {
        let since = after_s(self.inner.clock.now(), -ATTEMPTS_WINDOW_S);
        let failures = self.inner.node.sign_in_failures("", &attempts_of(login), since).await?;
        if failures.of_client >= CODE_ATTEMPTS_MAX {
            return Err(AppError::TooManyAttempts { retry_after_s: ATTEMPTS_WINDOW_S.unsigned_abs() });
        }
        Ok(())
    }

    async fn count_wrong_code(&self, login: &Login, entry: NewAuditEvent) -> Result<(), AppError> {
        let at = entry.at;
        Ok(self.inner.node.audited(entry).record_sign_in_failure("", &attempts_of(login), at).await?)
    }

    /// The time step whose code this is, among those that are good now.
    fn step_of_code(&self, login: &Login, factor: &SecondFactor, code: &str) -> Result<Option<u64>, AppError> {
        let code: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
        if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        let context = Context::second_factor(self.inner.node_id, login.as_str());
        let secret = self.inner.keys.open(&context, &factor.sealed_secret).map_err(|reason| {
            AppError::Configuration(format!("the second factor of `{login}` cannot be looked at: {reason}"))
        })?;
        let now = self.inner.clock.now().micros() / 1_000_000 / STEP_S;
        let steps = (now - STEPS_AROUND..=now + STEPS_AROUND).filter_map(|step| u64::try_from(step).ok());
        Ok(steps.into_iter().find(|step| is_same(&code_at(&secret, *step), &code)))
    }
}

const WRONG_CODE: &str = "this is not the code that your app shows now: look whether the clock of your phone is right";

/// What wrong codes of a user are counted as.
fn attempts_of(login: &Login) -> String {
    format!("second factor of {login}")
}

/// The code of a time step (RFC 4226, section 5.3).
fn code_at(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 0x0f);
    let number = tag[offset..offset + 4].iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

/// Whether two texts are the same, in a time that tells nothing of them.
fn is_same(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.bytes().zip(right.bytes()).fold(0, |all, (left, right)| all | (left ^ right)) == 0
}

/// New recovery codes, and what is kept of them.
pub(crate) fn new_recovery_codes() -> (Vec<String>, Vec<TokenHash>) {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let hashes = codes.iter().map(|code| recovery_hash(code)).collect();
    (codes, hashes)
}

/// A new recovery code, in groups of four that are easily read.
fn recovery_code() -> String {
    let mut bytes = [0; RECOVERY_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    let text = base32(&bytes).to_lowercase();
    let groups: Vec<&str> = (0..text.len()).step_by(4).map(|at| &text[at..text.len().min(at + 4)]).collect();
    groups.join("-")
}

/// What is kept of a recovery code, however it is typed.
fn recovery_hash(code: &str) -> TokenHash {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    secret_hash(&format!("recovery code {plain}"))
}

/// Bytes in base32 (RFC 4648) without padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut text, mut bits, mut count) = (String::new(), 0u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(LETTERS[(bits >> count & 31) as usize]));
        }
    }
    if count > 0 {
        text.push(char::from(LETTERS[(bits << (5 - count) & 31) as usize]));
    }
    text
}

/// What an app wants to know, as most of them read it from a QR code.
fn uri(node: &str, login: &str, secret: &str) -> String {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            escaped
        })
    };
    let node: String = node.chars().take(40).collect();
    let issuer = escaped(&format!("Stet {node}"));
    format!(
        "otpauth://totp/{issuer}:{}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
        escaped(login)
    )
}

/// A token sets up no second factor.
pub(crate) fn require_user(actor: &Actor) -> Result<(), AppError> {
    match actor.kind {
        ActorKind::User if actor.scopes == Scopes::ALL => Ok(()),
        ActorKind::Visitor => Err(AppError::NotSignedIn),
        _ => Err(AppError::NotAllowed("sign in to do this: a limited token cannot".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six digits of its eight.
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59u64, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(secret, seconds / 30), code, "{seconds}");
        }
    }

    #[test]
    fn base32_is_that_of_the_standard() {
        for (text, expected) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_recovery_code_is_the_same_however_it_is_typed() {
        let code = recovery_code();
        assert_eq!((code.len(), code.split('-').count()), (19, 4));
        assert_eq!(recovery_hash(&code), recovery_hash(&code.replace('-', " ").to_uppercase()));
        assert_ne!(recovery_hash(&code), recovery_hash(&recovery_code()));
    }
}
