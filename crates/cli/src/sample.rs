//! The sample project, embedded in the binary so that `stet demo` works wherever the binary is.

use std::path::Path;

use rust_embed::RustEmbed;

use crate::failure::Failure;

/// The key of the sample project.
pub(crate) const PROJECT: &str = "BIRDSTRIKES";

/// The webapps to look at first.
pub(crate) const WEBAPPS: [&str; 2] = ["review-matches", "correct-strikes"];

#[derive(RustEmbed)]
#[folder = "../../examples/birdstrikes"]
struct Files;

/// Writes the sample's files below a node's folder. What is there already is kept as it is.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_missing(node: &Path) -> Result<(), Failure> {
    for name in Files::iter() {
        let Some((part, rest)) = name.split_once('/') else { continue };
        let folder = match part {
            "project" => "projects",
            "data" => "data",
            _ => continue,
        };
        let path = node.join(folder).join(PROJECT).join(rest);
        let Some(file) = Files::get(&name).filter(|_| !path.exists()) else { continue };
        let written = match path.parent() {
            Some(parent) => std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, &file.data)),
            None => std::fs::write(&path, &file.data),
        };
        written.map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_in_the_binary_with_its_data() {
        for name in
            ["project/project.toml", "project/recipes/suggest_airports.sql", "data/strikes.csv", "data/airports.csv"]
        {
            assert!(Files::get(name).is_some_and(|file| !file.data.is_empty()), "{name}");
        }
    }
}
