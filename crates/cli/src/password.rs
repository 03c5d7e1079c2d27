//! Passwords at the shell: read from the terminal, a file or stdin, never from an argument, which others could see.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use rand::seq::IndexedRandom;

use crate::failure::Failure;

/// The most bytes that are read for a password.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Where a password comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct PasswordArguments {
    /// Read the password from the first line of this file; `-` for stdin [default: ask, or stdin if it is no terminal]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArguments {
    /// Reads the password for a login.
    ///
    /// # Errors
    /// When there is none to read, or the two that were typed differ.
    pub(crate) fn read(&self, login: &str) -> Result<String, Failure> {
        match &self.password_file {
            Some(path) if path != Path::new("-") => {
                let file = std::fs::File::open(path)
                    .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
                first_line(std::io::BufReader::new(file), &path.display().to_string())
            }
            None if std::io::stdin().is_terminal() => ask(login),
            _ => first_line(std::io::stdin().lock(), "stdin"),
        }
    }
}

/// Reads a secret that somebody else made, so that it is asked for once.
///
/// # Errors
/// When there is none to read.
pub(crate) fn read_pasted(file: Option<PathBuf>, what: &str) -> Result<String, Failure> {
    if file.is_none() && std::io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        let line = terminal.write_str(&format!("{what}: ")).and_then(|()| terminal.read_secure_line());
        return line.map_err(|error| Failure::usage(format!("cannot read it: {error}")));
    }
    PasswordArguments { password_file: file }.read(what)
}

fn first_line(reader: impl BufRead, from: &str) -> Result<String, Failure> {
    let mut line = String::new();
    reader
        .take(PASSWORD_BYTES_MAX)
        .read_line(&mut line)
        .map_err(|error| Failure::usage(format!("cannot read the password from {from}: {error}")))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(Failure::usage(format!(
            "no password: the first line of {from} is empty. Type it when asked, or give it with --password-file FILE"
        )));
    }
    Ok(password.to_owned())
}

fn ask(login: &str) -> Result<String, Failure> {
    let terminal = console::Term::stderr();
    let read = |prompt: &str| {
        terminal
            .write_str(prompt)
            .and_then(|()| terminal.read_secure_line())
            .map_err(|error| Failure::usage(format!("cannot read the password: {error}")))
    };
    let password = read(&format!("Password for {login}: "))?;
    if password != read("The same again: ")? {
        return Err(Failure::usage("the two passwords are not the same: try again"));
    }
    Ok(password)
}

/// A password of four words, drawn by chance: 28 bits, which guessing does not find at the pace that sign-in allows.
pub(crate) fn memorable() -> String {
    let mut random = rand::rng();
    let words: Vec<&str> = (0..4).filter_map(|_| WORDS.choose(&mut random).copied()).collect();
    words.join("-")
}

const WORDS: [&str; 128] = [
    "acorn", "alder", "amber", "anchor", "apple", "arrow", "aspen", "autumn", "badger", "bamboo", "barley", "basalt",
    "beacon", "beaver", "beetle", "birch", "bison", "bramble", "breeze", "brook", "butter", "cabin", "candle",
    "canyon", "cedar", "cherry", "cinder", "clover", "cobalt", "comet", "copper", "coral", "cotton", "crane",
    "cricket", "crystal", "daisy", "delta", "desert", "dolphin", "dragon", "eagle", "ember", "falcon", "feather",
    "fennel", "fern", "finch", "forest", "fossil", "garden", "garnet", "ginger", "glacier", "granite", "grove", "gull",
    "harbor", "hazel", "heron", "honey", "ibis", "indigo", "island", "ivory", "jasmine", "juniper", "kestrel",
    "kettle", "lagoon", "lantern", "lark", "laurel", "lemon", "lichen", "lilac", "linden", "lotus", "magnet", "magpie",
    "maple", "marble", "marigold", "meadow", "mint", "mirror", "mosaic", "nectar", "nettle", "oasis", "ocean", "olive",
    "onyx", "orchid", "osprey", "otter", "paper", "parsley", "pebble", "pelican", "pepper", "pigeon", "pine", "plover",
    "plum", "pollen", "poppy", "prairie", "quartz", "quill", "raven", "reed", "river", "robin", "saffron", "sage",
    "sparrow", "spruce", "swallow", "tern", "thistle", "timber", "topaz", "tulip", "velvet", "walnut", "willow",
    "zephyr",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_memorable_password_is_four_words_of_a_list_without_doubles() {
        assert_eq!(memorable().split('-').count(), 4);
        assert_eq!(WORDS.iter().collect::<BTreeSet<_>>().len(), WORDS.len());
    }

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for text in ["s3cret word", "s3cret word\n", "s3cret word\r\nmore"] {
            assert_eq!(first_line(text.as_bytes(), "stdin").unwrap(), "s3cret word");
        }
        assert!(first_line("\nx".as_bytes(), "stdin").is_err());
    }
}
