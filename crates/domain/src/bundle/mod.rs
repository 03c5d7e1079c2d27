//! Bundles: what carries a project's definition from the node where it is developed to the node where it runs, and the
//! rules by which it is let in.
//!
//! Everything here is pure: how archives are read and signatures are checked is the business of `app`.

mod diff;
mod manifest;
mod path;
mod plan;
mod policy;

pub use diff::{FileDiff, ObjectChange, ObjectDiff, ObjectKind, diff_files};
pub use manifest::{
    ConnectionNeed, DEFINITION_BYTES_MAX, DEFINITIONS_BYTES_MAX, MANIFEST_BYTES_MAX, MANIFEST_FILES_MAX,
    MANIFEST_FORMAT, Manifest, ManifestError, ManifestFile, SourceNode, TARGETS_MAX, TEXT_CHARACTERS_MAX,
};
pub use path::{BundlePath, PathError, PathKind};
pub use plan::{FileEffect, FileState, file_effects};
pub use policy::{
    ApprovalPolicy, ApprovalStatement, Approver, Assessment, Enforcement, Feedback, FinalDecision, STATEMENT_FORMAT,
    same_person,
};
