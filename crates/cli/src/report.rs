//! The account of a build, for people.

use std::fmt::Write;

use stet_app::{BuildReport, Job, Step, StepState};
use stet_domain::apply::ReportList;

use crate::table::shown_word;

/// How many of the edits that could not be applied are listed; `--format json` has more.
const ITEMS_MAX: usize = 5;

/// How wide the names of the lines are.
const LABEL_WIDTH: usize = 16;

/// What each dataset of a build was made of, and how.
pub(crate) fn summary(project: &str, job: &Job) -> String {
    let mut text = String::new();
    for step in &job.steps {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{project}.{}: {}", step.dataset, state(step));
        if let Some(report) = &step.report {
            account(&mut text, report);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn state(step: &Step) -> &'static str {
    match step.state {
        StepState::Waiting | StepState::Running => "not ended",
        StepState::Done => "built",
        StepState::Fresh => "up to date",
        StepState::Failed => "failed",
        StepState::Cancelled => "not built",
    }
}

fn account(text: &mut String, report: &BuildReport) {
    match report {
        BuildReport::Apply { account, .. } => {
            line(
                text,
                "rows",
                &format!(
                    "{} read, {} written ({} created, {} deleted)",
                    count(account.rows_in),
                    count(account.rows_out),
                    count(account.rows_created),
                    count(account.rows_deleted)
                ),
            );
            line(text, "edits applied", &count(account.edits_applied));
            list(text, "orphans", "edits of rows that are not in the original", &account.orphans);
            list(text, "misfits", "edits whose value no longer fits its column", &account.misfits);
            list(text, "not editable", "edits of columns that are no longer editable", &account.not_editable);
            let stale = &account.stale;
            line(
                text,
                "overrides",
                &format!(
                    "{} needed, {} agree with the original, {} where the original has changed since, {} orphans",
                    count(stale.needed),
                    count(stale.agrees),
                    count(stale.source_changed),
                    count(stale.orphan)
                ),
            );
        }
        BuildReport::Replay { account, .. } => {
            line(text, "rows", &format!("{} written, of {} events", count(account.rows_out), count(account.events)));
            list(text, "misfits", "values that do not fit their column", &account.misfits);
            list(text, "not editable", "edits of columns that are no longer editable", &account.not_editable);
        }
        BuildReport::Sql { .. } => line(text, "rows", &format!("{} written", count(report.rows_out()))),
    }
    let files = report.files();
    if !matches!(report, BuildReport::Sql { .. }) {
        let position = files.log_position.map_or("the log is empty".to_owned(), |id| format!("event {id}"));
        line(text, "log position", &position);
    }
    for input in &files.inputs {
        line(text, &format!("input {}", input.dataset), &file(&input.path, input.bytes, &input.sha256));
    }
    line(text, "output", &file(&files.output.path, files.output.bytes, &files.output.sha256));
    line(text, "time", &format!("{} ms", count(files.duration_ms)));
}

fn list(text: &mut String, label: &str, meaning: &str, list: &ReportList) {
    if list.count == 0 {
        return line(text, label, "0");
    }
    line(text, label, &format!("{} ({meaning})", count(list.count)));
    for item in list.items.iter().take(ITEMS_MAX) {
        let column = item.column.as_deref().map_or(String::new(), |column| format!(", {column}"));
        let value = item.value.as_deref().map_or("emptied".to_owned(), |value| format!("`{value}`"));
        let words = format!("event {}, {}{column}: {value}: {}", item.event, item.key, item.reason);
        let _ = writeln!(text, "    {}", shown_word(&words));
    }
    let left = list.count.saturating_sub(list.items.len().min(ITEMS_MAX) as u64);
    if left > 0 {
        let _ = writeln!(text, "    … and {} more (--format json lists them)", count(left));
    }
}

fn line(text: &mut String, label: &str, words: &str) {
    let _ = writeln!(text, "  {label:<LABEL_WIDTH$}  {}", shown_word(words));
}

fn file(path: &str, bytes: u64, sha256: &str) -> String {
    format!("{path}, {} bytes, sha256 {sha256}", count(bytes))
}

/// A count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }
}
