//! The manifest beside each output: of what it was made, so that everybody can tell whether it is up to date.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};
use stet_domain::event::EventId;
use stet_domain::project::{Column, CsvForm, Format};

use crate::control::Control;
use crate::error::EngineError;
use crate::read::{FilePrint, FileSource, Fingerprint};
use crate::write::{AtomicFile, Digested, digest_text};

/// The version of the manifest's form. A manifest of another version is not trusted: the output is built anew.
pub const MANIFEST_VERSION: u32 = 1;

/// The form in which edited datasets are written. It goes up when the same original and log give other bytes: an output of
/// another form is not gone on from, but built in full.
pub const OUTPUT_FORM: u32 = 1;

/// What an output was made of, and the account of the build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`MANIFEST_VERSION`].
    pub format_version: u32,
    /// The version of Stet that built the output.
    pub stet_version: String,
    /// The output dataset.
    pub dataset: String,
    /// The recipe.
    pub recipe: RecipeStamp,
    /// The inputs, in the recipe's order.
    pub inputs: Vec<InputStamp>,
    /// The editlog's position; none when the recipe reads no editlog or it was empty.
    pub log_position: Option<EventId>,
    /// The output.
    pub output: OutputStamp,
    /// What a replay took from the original, of which it reads no rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<OriginalStamp>,
    /// The account of the build, as the recipe's kind gives it.
    pub report: serde_json::Value,
}

/// What a recipe was when it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeStamp {
    /// `replay`, `apply` or `sql`.
    pub kind: String,
    /// SHA-256 of its definition, by which a change of the definition is noticed.
    pub definition_sha256: String,
}

/// What an input was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputStamp {
    /// The input dataset.
    pub dataset: String,
    /// Its files, in order of their names.
    pub files: Vec<FileStamp>,
}

/// What a file was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Path, size and time.
    #[serde(flatten)]
    pub print: FilePrint,
    /// SHA-256 of its content, in lower-case hex.
    pub sha256: String,
}

/// The columns of an original from which a replay took types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalStamp {
    /// SHA-256 of the columns of the output with their exact types, in lower-case hex.
    pub columns_sha256: String,
    /// The original's files as they were; none of a table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FilePrint>,
}

/// What the output is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputStamp {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in lower-case hex.
    pub sha256: String,
    /// Its rows.
    pub rows: u64,
    /// Its columns, for an output whose file does not tell their types: CSV and JSON lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// How it lies in row groups, when a later build can go on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<OutputParts>,
}

/// How an edited dataset lies in row groups: those of the original that have rows, in their order, and behind them those
/// of the created rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputParts {
    /// The form in which the row groups were written: see [`OUTPUT_FORM`].
    #[serde(default)]
    pub form: u32,
    /// One for each row group of the original that has rows.
    pub groups: Vec<GroupStamp>,
    /// How many created rows there are.
    pub rows_created: u64,
    /// Whether the log creates rows, for which columns have to allow nulls, even if none of them is in the output.
    pub has_created: bool,
    /// The output's files once they were in place: files of other sizes or times are not gone on from.
    pub files: Vec<FileStamp>,
}

/// What became of a row group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStamp {
    /// Its rows in the original.
    pub rows_in: u64,
    /// Its rows in the output; none of them: it is not there.
    pub rows_out: u64,
    /// For each editable column with overrides how many rows have one. A column without any is the original's, byte for
    /// byte, and becomes so again with its last override gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, u64>,
}

/// What a build would work on now.
#[derive(Debug, Clone)]
pub struct Present<'a> {
    /// The recipe as it is defined now.
    pub recipe: &'a RecipeStamp,
    /// The inputs of the recipe that are files.
    pub inputs: &'a [FileSource],
    /// The last event of the editlog; none when it is empty or the recipe reads none.
    pub log_position: Option<EventId>,
}

/// Why an output is not up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StaleReason {
    /// There is no output.
    NeverBuilt,
    /// There is an output, but no manifest that tells of what it was made.
    NoManifest,
    /// The output is not the file that was built.
    OutputChanged,
    /// The recipe is another one than the one that made the output.
    RecipeChanged { kind: String },
    /// An input has changed.
    InputChanged { dataset: String },
    /// An input is new to the recipe, or no longer one.
    InputsDiffer { dataset: String },
    /// An input has no data.
    InputMissing { dataset: String },
    /// The editlog has new events.
    NewEdits { count: u64 },
    /// The editlog has fewer events than the output was made of.
    LogReset,
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaleReason::NeverBuilt => f.write_str("never built"),
            StaleReason::NoManifest => f.write_str("it is not known how the present file was made"),
            StaleReason::OutputChanged => f.write_str("the output file was changed after it was built"),
            StaleReason::RecipeChanged { kind } if kind == "sql" => f.write_str("the query has changed"),
            StaleReason::RecipeChanged { .. } => f.write_str("the webapp's settings have changed"),
            StaleReason::InputChanged { dataset } => write!(f, "`{dataset}` has changed"),
            StaleReason::InputsDiffer { dataset } => write!(f, "the inputs are others: `{dataset}`"),
            StaleReason::InputMissing { dataset } => write!(f, "`{dataset}` has no data"),
            StaleReason::NewEdits { count: 1 } => f.write_str("1 new edit"),
            StaleReason::NewEdits { count } => write!(f, "{count} new edits"),
            StaleReason::LogReset => f.write_str("the edits were reset"),
        }
    }
}

impl Manifest {
    /// Where the manifest of an output (a file or a folder) is: beside it, with `.stet.json` behind its name.
    pub fn path_of(output: &Path) -> PathBuf {
        let mut name = output.components().as_path().as_os_str().to_owned();
        name.push(".stet.json");
        PathBuf::from(name)
    }

    /// Reads the manifest of an output; none when there is none, or none that this version of Stet can use.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(output: &Path) -> Result<Option<Manifest>, EngineError> {
        let path = Manifest::path_of(output);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EngineError::io("read", path)(error)),
        };
        // A damaged or strange manifest means that nothing is known: the output is built anew, which writes a good one.
        let manifest: Option<Manifest> = serde_json::from_slice(&text).ok();
        Ok(manifest.filter(|manifest| manifest.format_version == MANIFEST_VERSION))
    }

    /// The columns of an output whose file does not tell their types; none when nothing is known, or the file is not the
    /// one that was built.
    pub fn columns_of(output: &Path) -> Option<Vec<Column>> {
        let manifest = Manifest::read(output).ok()??;
        let bytes = std::fs::metadata(output).ok()?.len();
        (manifest.output.bytes == bytes && !manifest.output.columns.is_empty()).then_some(manifest.output.columns)
    }

    /// Writes the manifest beside its output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, output: &Path) -> Result<(), EngineError> {
        let path = Manifest::path_of(output);
        let mut file = AtomicFile::create(&path)?;
        serde_json::to_writer_pretty(&mut file, self)
            .map_err(|source| EngineError::Internal { action: "writing a manifest", source: Box::new(source) })?;
        std::io::Write::write_all(&mut file, b"\n").map_err(EngineError::io("write", path))?;
        file.commit().map(|_| ())
    }

    /// Why the output is not up to date with what a build would work on now; empty when it is.
    ///
    /// Sizes and times of files are looked at first; a file is only read when they differ. A file that was touched and
    /// holds the same bytes has not changed.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn stale_reasons(output: &Path, present: &Present<'_>) -> Result<Vec<StaleReason>, EngineError> {
        let Some(bytes) = bytes_of(output)? else {
            return Ok(vec![StaleReason::NeverBuilt]);
        };
        let Some(manifest) = Manifest::read(output)? else {
            return Ok(vec![StaleReason::NoManifest]);
        };
        let mut reasons = Vec::new();
        if bytes != manifest.output.bytes {
            reasons.push(StaleReason::OutputChanged);
        }
        if manifest.recipe != *present.recipe {
            reasons.push(StaleReason::RecipeChanged { kind: present.recipe.kind.clone() });
        }
        for source in present.inputs {
            let Some(stamp) = manifest.inputs.iter().find(|stamp| stamp.dataset == source.dataset) else {
                reasons.push(StaleReason::InputsDiffer { dataset: source.dataset.clone() });
                continue;
            };
            match is_same(source, stamp) {
                Ok(true) => {}
                Ok(false) => reasons.push(StaleReason::InputChanged { dataset: source.dataset.clone() }),
                Err(EngineError::Missing { .. }) => {
                    reasons.push(StaleReason::InputMissing { dataset: source.dataset.clone() });
                }
                Err(error) => return Err(error),
            }
        }
        for stamp in &manifest.inputs {
            if !present.inputs.iter().any(|source| source.dataset == stamp.dataset) {
                reasons.push(StaleReason::InputsDiffer { dataset: stamp.dataset.clone() });
            }
        }
        let (built, now) = (position(manifest.log_position), position(present.log_position));
        if now > built {
            reasons.push(StaleReason::NewEdits { count: now - built });
        } else if now < built {
            reasons.push(StaleReason::LogReset);
        }
        Ok(reasons)
    }
}

impl OriginalStamp {
    /// The stamp of the columns of a replay's output and of the files that told their types.
    pub fn new(columns: &Schema, files: Vec<FilePrint>) -> OriginalStamp {
        let mut text = String::new();
        for field in columns.fields() {
            // Writing to a String cannot fail.
            let _ = fmt::Write::write_fmt(&mut text, format_args!("{:?} {}\n", field.name(), field.data_type()));
        }
        OriginalStamp { columns_sha256: digest_text(&text), files }
    }
}

/// Event ids have no gaps, so a position is also a count.
fn position(event: Option<EventId>) -> u64 {
    event.map_or(0, |event| event.0.max(0).unsigned_abs())
}

impl InputStamp {
    /// What an input is now. A file that has the size and time of its earlier stamp is not read again.
    ///
    /// # Errors
    /// When the dataset has no files, or one cannot be read.
    pub fn take(source: &FileSource, earlier: Option<&InputStamp>) -> Result<InputStamp, EngineError> {
        InputStamp::of(source, source.fingerprint()?, earlier, &Control::unwatched())
    }

    /// The same for fingerprints that were taken before.
    pub(crate) fn of(
        source: &FileSource,
        prints: Fingerprint,
        earlier: Option<&InputStamp>,
        control: &Control,
    ) -> Result<InputStamp, EngineError> {
        let mut files = Vec::new();
        for print in prints.files {
            control.check()?;
            let known = earlier.and_then(|stamp| stamp.files.iter().find(|file| file.print == print));
            let sha256 = match known {
                Some(file) => file.sha256.clone(),
                None => print.sha256()?,
            };
            files.push(FileStamp { print, sha256 });
        }
        Ok(InputStamp { dataset: source.dataset.clone(), files })
    }

    /// Checks that no file of the input was changed since the stamp was taken.
    ///
    /// # Errors
    /// When one was: what was read may be half old and half new.
    pub fn check_unchanged(&self, source: &FileSource) -> Result<(), EngineError> {
        source.changed_since(&Fingerprint { files: self.files.iter().map(|file| file.print.clone()).collect() })
    }
}

impl OutputStamp {
    /// The stamp of an output that was just written.
    pub fn new(digested: Digested, rows: u64) -> OutputStamp {
        OutputStamp { bytes: digested.bytes, sha256: digested.sha256, rows, columns: Vec::new(), parts: None }
    }
}

fn is_same(source: &FileSource, stamp: &InputStamp) -> Result<bool, EngineError> {
    let present = source.fingerprint()?.files;
    if present.len() != stamp.files.len() {
        return Ok(false);
    }
    for (now, then) in present.iter().zip(&stamp.files) {
        if *now == then.print {
            continue;
        }
        // The folder does not count: a node that was moved, copied or restored is as up to date as it was.
        if now.path.file_name() != then.print.path.file_name()
            || now.bytes != then.print.bytes
            || now.sha256()? != then.sha256
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The present files of an output: the file, or the files of the folder in order of their names.
///
/// # Errors
/// When there are none, or they cannot be looked at.
pub(crate) fn prints_of(output: &Path) -> Result<Vec<FilePrint>, EngineError> {
    let format = if output.is_dir() {
        Format::Parquet
    } else {
        Format::of_path(&output.to_string_lossy()).unwrap_or(Format::Parquet)
    };
    let source = FileSource {
        dataset: "output".into(),
        path: output.to_owned(),
        format,
        csv: CsvForm::default(),
        columns: None,
    };
    Ok(source.fingerprint()?.files)
}

/// The size of an output; none when there is none.
fn bytes_of(output: &Path) -> Result<Option<u64>, EngineError> {
    match prints_of(output) {
        Ok(prints) => Ok(Some(prints.iter().map(|print| print.bytes).sum())),
        // A folder without files in it is no output either.
        Err(EngineError::Missing { .. } | EngineError::Schema { .. }) => Ok(None),
        Err(EngineError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
