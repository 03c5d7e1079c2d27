//! Who has to approve a bundle before a node takes it, and whether they did.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use crate::event::LogDate;

/// The version of the form of approvals that this Stet writes, and the only one that it reads.
pub const STATEMENT_FORMAT: u32 = 1;

/// What a reviewer thinks of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feedback {
    /// Good.
    Approve,
    /// Good enough, with a remark.
    Minor,
    /// Not good: it must not be activated.
    Major,
}

/// What whoever is responsible decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalDecision {
    /// It may be activated.
    Approve,
    /// It must not.
    Reject,
}

/// A person's statement on one bundle and one target, as it is signed. A changed bundle has another hash, so that no
/// statement on the earlier one counts for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalStatement {
    /// [`STATEMENT_FORMAT`].
    pub format: u32,
    /// SHA-256 of the manifest, in hexadecimal.
    pub manifest_sha256: String,
    /// The node for which it is meant, by name or id.
    pub target: String,
    /// Who says it.
    pub person: String,
    /// What the person thinks of it as a reviewer; none when the person only decides.
    pub feedback: Option<Feedback>,
    /// The decision; none when the person only reviews.
    #[serde(rename = "final")]
    pub decision: Option<FinalDecision>,
    /// In the person's words; may be empty.
    pub comment: String,
    /// When, by the clock of the person's machine. Beside the order of arrival, it orders the statements of one person, and nothing
    /// else.
    pub made_at: LogDate,
}

/// Whether a bundle that lacks approvals is refused or only remarked on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Prevent,
    /// It is activated with a warning, which stays with the deployment.
    Warn,
}

/// What a node asks for before it takes a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalPolicy {
    /// What happens without it.
    pub mode: Enforcement,
    /// How many different persons have to approve.
    pub persons_min: usize,
    /// How many different persons of each group have to approve.
    pub groups: BTreeMap<String, usize>,
    /// Whether somebody has to give the final approval; with groups named, one of those.
    pub final_approval: bool,
    /// The groups whose members may give the final approval; empty for all approvers.
    pub final_groups: BTreeSet<String>,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        ApprovalPolicy {
            mode: Enforcement::Prevent,
            persons_min: 1,
            groups: BTreeMap::new(),
            final_approval: false,
            final_groups: BTreeSet::new(),
        }
    }
}

/// Somebody whose approvals a node takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approver {
    /// The person's login.
    pub login: String,
    /// The person's public key, as `stet bundle keygen` prints it; none for somebody who approves with passkeys alone.
    #[serde(default)]
    pub key: Option<String>,
    /// The public keys of the person's passkeys, as the account page shows them.
    #[serde(default)]
    pub passkeys: Vec<String>,
    /// The groups that the person belongs to.
    #[serde(default)]
    pub groups: BTreeSet<String>,
}

/// How the approvals of a bundle stand to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// Whether everything that the policy asks for is there.
    pub met: bool,
    /// The persons whose approval counts.
    pub counted: Vec<String>,
    /// What is missing or speaks against it, one sentence each.
    pub lacking: Vec<String>,
}

/// Whether two logins name the same person: whoever works at the shell as `ada@shell` is ada.
pub fn same_person(a: &str, b: &str) -> bool {
    let plain = |login: &str| login.trim().to_lowercase().trim_end_matches("@shell").to_owned();
    plain(a) == plain(b)
}

impl ApprovalPolicy {
    /// Holds verified statements, in the order in which they arrived, against the policy. `signers` are further persons who signed the bundle itself; like its
    /// author, they do not count.
    pub fn assess(
        &self,
        manifest: &Manifest,
        signers: &[String],
        approvers: &[Approver],
        statements: &[ApprovalStatement],
    ) -> Assessment {
        let mut latest: BTreeMap<String, &ApprovalStatement> = BTreeMap::new();
        for statement in statements {
            let said = latest.entry(statement.person.to_lowercase()).or_insert(statement);
            // Only a statement that was made later and arrived later takes an objection back: a clock that is ahead lets
            // no approval outlive it.
            let later = statement.made_at > said.made_at;
            let objects = statement.is_against() && !said.is_against();
            if later || objects {
                *said = statement;
            }
        }
        let is_author = |person: &str| {
            same_person(person, &manifest.author) || signers.iter().any(|signer| same_person(person, signer))
        };
        let mut objections = Vec::new();
        let mut remarks = Vec::new();
        let mut counted = Vec::new();
        let mut finals = Vec::new();
        for statement in latest.values() {
            let person = &statement.person;
            if statement.feedback == Some(Feedback::Major) {
                objections.push(format!("{person} found a major issue{}", said(&statement.comment)));
                continue;
            }
            if statement.decision == Some(FinalDecision::Reject) {
                objections.push(format!("{person} rejected it{}", said(&statement.comment)));
                continue;
            }
            if is_author(person) {
                remarks.push(format!("{person} made this bundle, so the approval does not count"));
                continue;
            }
            if statement.feedback.is_some() || statement.decision.is_some() {
                counted.push(person.clone());
            }
            if statement.decision == Some(FinalDecision::Approve) {
                finals.push(person.clone());
            }
        }
        let groups_of = |person: &str| {
            approvers.iter().find(|approver| same_person(&approver.login, person)).map(|approver| &approver.groups)
        };
        let of_group = |persons: &[String], group: &str| {
            persons.iter().filter(|person| groups_of(person).is_some_and(|groups| groups.contains(group))).count()
        };
        let mut missing = Vec::new();
        if counted.len() < self.persons_min {
            missing.push(format!("{} of {} approvals are there", counted.len(), self.persons_min));
        }
        for (group, needed) in &self.groups {
            let found = of_group(&counted, group);
            if found < *needed {
                missing.push(format!("{found} of {needed} approvals by the group `{group}` are there"));
            }
        }
        let has_final = finals.iter().any(|person| {
            self.final_groups.is_empty()
                || groups_of(person).is_some_and(|groups| groups.iter().any(|group| self.final_groups.contains(group)))
        });
        if self.final_approval && !has_final {
            missing.push("the final approval is not there".to_owned());
        }
        let met = missing.is_empty() && objections.is_empty();
        // A statement that does not count is no lack when enough others do.
        let lacking = if met { Vec::new() } else { [objections, missing, remarks].concat() };
        Assessment { met, counted, lacking }
    }
}

fn said(comment: &str) -> String {
    if comment.is_empty() { String::new() } else { format!(": {comment}") }
}

impl ApprovalStatement {
    /// The statement in the form that is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Structs of plain fields always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn is_against(&self) -> bool {
        self.feedback == Some(Feedback::Major) || self.decision == Some(FinalDecision::Reject)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::manifest::{MANIFEST_FORMAT, SourceNode};
    use super::*;
    use crate::name::ProjectKey;

    fn manifest() -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            stet: "0.1.0".to_owned(),
            project: ProjectKey::new("P").unwrap(),
            sequence: 1,
            source: SourceNode { id: Uuid::nil(), name: "Design".to_owned() },
            author: "dana@shell".to_owned(),
            targets: Vec::new(),
            expires: None,
            notes: String::new(),
            connections: Vec::new(),
            data: Vec::new(),
            files: Vec::new(),
        }
    }

    fn says(person: &str, at: i64, feedback: Option<Feedback>, decision: Option<FinalDecision>) -> ApprovalStatement {
        ApprovalStatement {
            format: STATEMENT_FORMAT,
            manifest_sha256: String::new(),
            target: "prod".to_owned(),
            person: person.to_owned(),
            feedback,
            decision,
            comment: String::new(),
            made_at: LogDate::from_micros(at),
        }
    }

    fn approver(login: &str, group: &str) -> Approver {
        Approver {
            login: login.to_owned(),
            key: None,
            passkeys: Vec::new(),
            groups: BTreeSet::from([group.to_owned()]),
        }
    }

    const GOOD: Option<Feedback> = Some(Feedback::Approve);

    #[test]
    fn the_author_and_those_who_signed_never_count() {
        let policy = ApprovalPolicy { persons_min: 2, ..ApprovalPolicy::default() };
        let statements = [says("dana", 1, GOOD, None), says("eve", 1, GOOD, None), says("ada", 1, GOOD, None)];
        let assessed = policy.assess(&manifest(), &["eve".to_owned()], &[], &statements);
        assert!(!assessed.met);
        assert_eq!(assessed.counted, ["ada"]);
        assert!(assessed.lacking.iter().any(|text| text.contains("1 of 2")), "{:?}", assessed.lacking);
        assert!(policy.assess(&manifest(), &[], &[], &statements).met);
    }

    #[test]
    fn one_person_counts_once_and_the_last_word_holds() {
        let policy = ApprovalPolicy { persons_min: 2, ..ApprovalPolicy::default() };
        let twice = [says("ada", 1, GOOD, None), says("Ada", 2, Some(Feedback::Minor), None)];
        assert_eq!(policy.assess(&manifest(), &[], &[], &twice).counted.len(), 1);
        let one = ApprovalPolicy::default();
        let turned = [says("ada", 2, Some(Feedback::Major), None), says("ada", 1, GOOD, None)];
        assert!(!one.assess(&manifest(), &[], &[], &turned).met);
        let turned_back = [says("ada", 1, Some(Feedback::Major), None), says("ada", 2, GOOD, None)];
        assert!(one.assess(&manifest(), &[], &[], &turned_back).met);
        let ahead = [says("ada", 9, GOOD, None), says("ada", 5, Some(Feedback::Major), None)];
        assert!(!one.assess(&manifest(), &[], &[], &ahead).met, "the clock of the approval was ahead");
        let taken_back = [ahead.as_slice(), &[says("ada", 6, GOOD, None)]].concat();
        assert!(one.assess(&manifest(), &[], &[], &taken_back).met);
        let at_once = [says("ada", 1, GOOD, None), says("ada", 1, Some(Feedback::Major), None)];
        assert!(!one.assess(&manifest(), &[], &[], &at_once).met);
    }

    #[test]
    fn one_objection_outweighs_any_number_of_approvals() {
        let policy = ApprovalPolicy::default();
        for against in [says("bob", 1, Some(Feedback::Major), None), says("bob", 1, None, Some(FinalDecision::Reject))]
        {
            let statements = [says("ada", 1, GOOD, None), says("cyd", 1, GOOD, None), against];
            assert!(!policy.assess(&manifest(), &[], &[], &statements).met);
        }
    }

    #[test]
    fn groups_and_the_final_approval_are_asked_for() {
        let policy = ApprovalPolicy {
            persons_min: 2,
            groups: BTreeMap::from([("quality".to_owned(), 1)]),
            final_approval: true,
            final_groups: BTreeSet::from(["owners".to_owned()]),
            ..ApprovalPolicy::default()
        };
        let approvers = [approver("ada", "quality"), approver("bob", "owners"), approver("cyd", "others")];
        let assess = |statements: &[ApprovalStatement]| policy.assess(&manifest(), &[], &approvers, statements);
        let yes = Some(FinalDecision::Approve);
        assert!(assess(&[says("ada", 1, GOOD, None), says("bob", 1, None, yes)]).met);
        let without_quality = assess(&[says("cyd", 1, GOOD, None), says("bob", 1, None, yes)]);
        assert!(without_quality.lacking.iter().any(|text| text.contains("`quality`")));
        let wrong_final = assess(&[says("ada", 1, GOOD, yes), says("cyd", 1, GOOD, yes)]);
        assert!(wrong_final.lacking.iter().any(|text| text.contains("final approval")));
    }
}
