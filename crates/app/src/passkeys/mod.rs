//! Passkeys (W3C Web Authentication): a second factor beside the password, and a way to approve bundles in the browser.
//!
//! A question that was asked (a challenge) is answered once and within some minutes; the node keeps those that are open in
//! memory. Attestation is neither asked for nor believed, and the authenticator has to look who uses it.

mod cbor;
mod verify;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::Rng as _;
use sha2::{Digest, Sha256};
use stet_domain::{Actor, LogDate, Login};
use stet_store::node::{AuditOutcome, NewAuditEvent, StoredPasskey};

pub use verify::PasskeyKey;
pub(crate) use verify::{Assertion, Expected, PasskeyError, Site, asserted};

use crate::App;
use crate::clock::after_s;
use crate::error::AppError;
use crate::password::secret_hash;
use crate::second_factor::{new_recovery_codes, require_user};

/// How long a question may take to be answered, in seconds.
const ANSWER_WITHIN_S: i64 = 5 * 60;

/// The most questions that are open.
const OPEN_MAX: usize = 10_000;

/// The most passkeys of one user.
const PASSKEYS_MAX: usize = 20;

/// The longest name of a passkey, in characters.
const NAME_CHARACTERS_MAX: usize = 80;

/// A passkey of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// By which its authenticator knows it, in Base64 for addresses.
    pub id: String,
    /// How its user calls it.
    pub name: String,
    /// The key that its signatures are checked with: for `[[deploy.approvers]]`.
    pub public_key: String,
    /// When it was made.
    pub created_at: LogDate,
    /// When it was last used here.
    pub last_used_at: Option<LogDate>,
}

/// What a browser needs to make a passkey. Bytes are in Base64 for addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyCreation {
    /// What is to be answered.
    pub challenge: String,
    /// The site that it is for.
    pub site: String,
    /// The name of the node.
    pub node: String,
    /// Whose it will be, as a number that says nothing.
    pub user_id: String,
    /// The login.
    pub login: String,
    /// The name for people.
    pub display_name: String,
    /// The passkeys that the user has.
    pub known: Vec<String>,
}

/// What a browser needs to use a passkey. Bytes are in Base64 for addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyRequest {
    /// What is to be signed.
    pub challenge: String,
    /// The site that it is for.
    pub site: String,
    /// The passkeys that will do.
    pub known: Vec<String>,
}

/// What an authenticator answered. Bytes are in Base64 for addresses.
#[derive(Clone)]
pub struct PasskeyAnswer {
    /// Which passkey it is.
    pub id: String,
    /// `authenticatorData`.
    pub authenticator_data: String,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `signature`.
    pub signature: String,
}

/// What an authenticator answered that made a passkey. Bytes are in Base64 for addresses.
#[derive(Clone)]
pub struct NewPasskey {
    /// How its user calls it.
    pub name: String,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `attestationObject`.
    pub attestation: String,
}

/// What a question was asked for.
#[derive(Clone, PartialEq, Eq)]
enum Purpose {
    Making,
    SigningIn,
}

/// The questions that are open: what for, to whom, and until when. Owned by the node.
#[derive(Default)]
pub(crate) struct Challenges(Mutex<HashMap<Vec<u8>, (Purpose, Login, LogDate)>>);

impl Challenges {
    fn ask(&self, purpose: Purpose, login: &Login, now: LogDate) -> Result<Vec<u8>, AppError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.retain(|_, (_, _, until)| now < *until);
        }
        if open.len() >= OPEN_MAX {
            return Err(AppError::Unavailable("too many people use passkeys at this moment: try again".to_owned()));
        }
        let mut challenge = vec![0; 32];
        rand::rng().fill_bytes(&mut challenge);
        open.insert(challenge.clone(), (purpose, login.clone(), after_s(now, ANSWER_WITHIN_S)));
        Ok(challenge)
    }

    /// Takes a question away, which is answered by that: whether it was open.
    fn take(&self, challenge: &[u8], purpose: &Purpose, login: &Login, now: LogDate) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.remove(challenge);
        found.is_some_and(|(asked, whose, until)| asked == *purpose && whose == *login && now < until)
    }
}

impl App {
    /// The passkeys of the actor, oldest first.
    ///
    /// # Errors
    /// When the actor is no user in a session.
    pub async fn passkeys(&self, actor: &Actor) -> Result<Vec<Passkey>, AppError> {
        require_user(actor)?;
        let found = self.inner.node.passkeys(&actor.login).await?;
        Ok(found.into_iter().map(Passkey::from).collect())
    }

    /// Begins a passkey.
    ///
    /// # Errors
    /// When the password is not the actor's, the node's address is one that has no passkeys, or there are too many.
    pub async fn begin_passkey(
        &self,
        actor: &Actor,
        session: &str,
        password: String,
    ) -> Result<PasskeyCreation, AppError> {
        require_user(actor)?;
        let site = self.site()?;
        let entry = self.entry(actor, "passkey.begin", format!("user {}", actor.login), "");
        self.check_own_password(actor, session, password, entry).await?;
        let known = self.inner.node.passkeys(&actor.login).await?;
        if known.len() >= PASSKEYS_MAX {
            return Err(AppError::Conflict(format!("you have {PASSKEYS_MAX} passkeys: remove one first")));
        }
        let challenge = self.inner.challenges.ask(Purpose::Making, &actor.login, self.inner.clock.now())?;
        // The standard wants a number of the user that tells nothing about who it is.
        let user = Sha256::digest(format!("passkeys of {} on {}", actor.login, self.inner.node_id));
        Ok(PasskeyCreation {
            challenge: encoded(&challenge),
            site: site.id,
            node: self.inner.config.name.clone(),
            user_id: encoded(&user),
            login: actor.login.to_string(),
            display_name: actor.display_name.clone(),
            known: known.iter().map(|known| encoded(&known.credential_id)).collect(),
        })
    }

    /// Adds the passkey that a browser made. Sessions that were begun with the password alone end, but for this one. Whoever
    /// has no recovery codes gets some, which are shown this once: the device may be lost.
    ///
    /// # Errors
    /// When it was not asked for, is not what was asked for, or is known already.
    pub async fn add_passkey(&self, actor: &Actor, session: &str, new: NewPasskey) -> Result<Vec<String>, AppError> {
        require_user(actor)?;
        let site = self.site()?;
        let name = new.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
            return Err(AppError::Invalid(format!("give the passkey a name of 1 to {NAME_CHARACTERS_MAX} characters")));
        }
        let (client_data, attestation) = (decoded(&new.client_data)?, decoded(&new.attestation)?);
        let now = self.inner.clock.now();
        let challenge = challenge_of(&client_data)?;
        let mut entry = self.entry(actor, "passkey.add", format!("user {}", actor.login), name.clone());
        let made = if self.inner.challenges.take(&challenge, &Purpose::Making, &actor.login, now) {
            verify::made(&Expected { challenge: &challenge, site: &site }, &client_data, &attestation)
        } else {
            Err(PasskeyError::Challenge)
        };
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                entry.outcome = AuditOutcome::Refused;
                entry.detail = error.to_string();
                self.note(entry).await?;
                return Err(AppError::Invalid(error.to_string()));
            }
        };
        let passkey = StoredPasskey {
            credential_id: made.id,
            name,
            public_key: made.key.to_string(),
            sign_count: made.sign_count,
            created_at: now,
            last_used_at: None,
        };
        let node = &self.inner.node;
        let (codes, hashes) = match node.recovery_codes(&actor.login).await? {
            0 => new_recovery_codes(),
            _ => (Vec::new(), Vec::new()),
        };
        node.audited(entry).add_passkey(&actor.login, passkey, hashes, secret_hash(session)).await?;
        Ok(codes)
    }

    /// Takes one of the actor's passkeys away.
    ///
    /// # Errors
    /// When the password is not the actor's, there is no such passkey, or it is the last second factor where the node asks
    /// for one.
    pub async fn remove_passkey(
        &self,
        actor: &Actor,
        session: &str,
        id: &str,
        password: String,
    ) -> Result<(), AppError> {
        require_user(actor)?;
        let known = self.inner.node.passkeys(&actor.login).await?;
        let found = known.iter().find(|known| encoded(&known.credential_id) == id);
        let found = found.ok_or_else(|| AppError::not_found("such passkey of yours"))?;
        let object = format!("user {}", actor.login);
        let entry = self.entry(actor, "passkey.remove", object, found.name.clone());
        self.check_own_password(actor, session, password, entry.clone()).await?;
        let codes = self.inner.node.second_factor(&actor.login).await?.is_some_and(|one| one.confirmed_at.is_some());
        if known.len() == 1 && !codes && self.asks_for_second_factor(actor.profile) {
            return Err(AppError::Conflict(
                "this node asks for a second factor, and this is your last one: set up another one first".to_owned(),
            ));
        }
        self.inner.node.audited(entry).remove_passkey(&actor.login, &found.credential_id).await?;
        Ok(())
    }

    /// What to ask of somebody whose password is right; none when they have no passkey.
    pub(crate) async fn ask_for_passkey(&self, login: &Login) -> Result<Option<PasskeyRequest>, AppError> {
        let known = self.inner.node.passkeys(login).await?;
        // Of an address that has no passkeys nobody asks for one: what is registered may be of an earlier address.
        let (Ok(site), false) = (self.site(), known.is_empty()) else { return Ok(None) };
        let challenge = self.inner.challenges.ask(Purpose::SigningIn, login, self.inner.clock.now())?;
        Ok(Some(PasskeyRequest {
            challenge: encoded(&challenge),
            site: site.id,
            known: known.iter().map(|known| encoded(&known.credential_id)).collect(),
        }))
    }

    /// Whether a passkey of this user answered a question that was asked of them, once.
    pub(crate) async fn check_passkey(&self, login: &Login, answer: &PasskeyAnswer) -> Result<(), AppError> {
        let wrong = |error: PasskeyError| AppError::Invalid(error.to_string());
        let site = self.site()?;
        let parts = [&answer.authenticator_data, &answer.client_data, &answer.signature].map(|text| decoded(text));
        let [Ok(authenticator_data), Ok(client_data), Ok(signature)] = &parts else {
            return Err(wrong(PasskeyError::Unreadable));
        };
        let challenge = challenge_of(client_data)?;
        let now = self.inner.clock.now();
        if !self.inner.challenges.take(&challenge, &Purpose::SigningIn, login, now) {
            return Err(wrong(PasskeyError::Challenge));
        }
        let known = self.inner.node.passkeys(login).await?;
        let found = known.iter().find(|known| encoded(&known.credential_id) == answer.id);
        let found = found.ok_or_else(|| AppError::Invalid("this passkey is not yours on this node".to_owned()))?;
        let key: PasskeyKey = found.public_key.parse().map_err(AppError::Configuration)?;
        let assertion = Assertion { authenticator_data, client_data, signature };
        let expected = Expected { challenge: &challenge, site: &site };
        let count = asserted(&expected, &key, Some(found.sign_count), &assertion).map_err(wrong)?;
        if !self.inner.node.use_passkey(&found.credential_id, count, now).await? {
            return Err(wrong(PasskeyError::Counter));
        }
        Ok(())
    }

    /// What a passkey that was not right at sign-in is noted as.
    pub(crate) fn refused_passkey(mut entry: NewAuditEvent, error: &AppError) -> NewAuditEvent {
        entry.outcome = AuditOutcome::Refused;
        entry.detail = format!("passkey: {error}");
        entry
    }

    /// The site whose passkeys count on this node.
    ///
    /// # Errors
    /// When browsers make no passkeys for the node's address: what to write into `stet.toml`.
    pub(crate) fn site(&self) -> Result<Site, AppError> {
        site_of(self.inner.config.public_url.as_deref()).map_err(AppError::Configuration)
    }
}

/// The site of a public URL.
pub(crate) fn site_of(public_url: Option<&str>) -> Result<Site, String> {
    // As long as a node has no address it is for its own machine, on whatever port.
    let Some(url) = public_url else { return Ok(Site { id: "localhost".to_owned(), origin: None }) };
    let wrong = || {
        format!(
            "passkeys need a `public_url` in stet.toml that begins with https:// and has a name, not an address of numbers: \
             it is {url}"
        )
    };
    let uri: hyper::Uri = url.trim().parse().map_err(|_| wrong())?;
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let is_number = host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
    if host.is_empty() || is_number || (scheme != "https" && host != "localhost") {
        return Err(wrong());
    }
    let default_port = if scheme == "https" { 443 } else { 80 };
    let origin = match uri.port_u16().filter(|port| *port != default_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    };
    Ok(Site { id: host, origin: Some(origin) })
}

impl From<StoredPasskey> for Passkey {
    fn from(stored: StoredPasskey) -> Passkey {
        Passkey {
            id: encoded(&stored.credential_id),
            name: stored.name,
            public_key: stored.public_key,
            created_at: stored.created_at,
            last_used_at: stored.last_used_at,
        }
    }
}

/// The question that an answer says it is to.
fn challenge_of(client_data: &[u8]) -> Result<Vec<u8>, AppError> {
    #[derive(serde::Deserialize)]
    struct Answered {
        challenge: String,
    }
    let unreadable = || AppError::Invalid(PasskeyError::Unreadable.to_string());
    let answered: Answered = serde_json::from_slice(client_data).map_err(|_| unreadable())?;
    decoded(&answered.challenge)
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(text: &str) -> Result<Vec<u8>, AppError> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| AppError::Invalid(PasskeyError::Unreadable.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_once_by_the_one_who_was_asked_and_in_time() {
        let (ada, eve) = (Login::new("ada").unwrap(), Login::new("eve").unwrap());
        let (now, challenges) = (LogDate::from_micros(0), Challenges::default());
        let ask = || challenges.ask(Purpose::SigningIn, &ada, now).unwrap();
        let late = after_s(now, ANSWER_WITHIN_S);
        assert!(challenges.take(&ask(), &Purpose::SigningIn, &ada, now));
        let again = ask();
        assert!(challenges.take(&again, &Purpose::SigningIn, &ada, now));
        assert!(!challenges.take(&again, &Purpose::SigningIn, &ada, now), "twice");
        assert!(!challenges.take(&ask(), &Purpose::SigningIn, &eve, now), "somebody else");
        assert!(!challenges.take(&ask(), &Purpose::Making, &ada, now), "for something else");
        assert!(!challenges.take(&ask(), &Purpose::SigningIn, &ada, late), "too late");
    }

    #[test]
    fn the_site_is_the_host_of_the_public_address() {
        let site = site_of(Some("https://Stet.example.org/x")).unwrap();
        assert_eq!((site.id.as_str(), site.origin.as_deref()), ("stet.example.org", Some("https://stet.example.org")));
        let site = site_of(Some("https://stet.example.org:8443")).unwrap();
        assert_eq!(site.origin.as_deref(), Some("https://stet.example.org:8443"));
        assert_eq!(site_of(Some("http://localhost:8820")).unwrap().origin.as_deref(), Some("http://localhost:8820"));
        for url in ["http://stet.example.org", "https://192.0.2.1", "https://[2001:db8::1]", "stet"] {
            assert!(site_of(Some(url)).is_err(), "{url}");
        }
    }
}
