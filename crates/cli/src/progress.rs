//! Watching a build from the shell: a bar on a terminal, plain lines elsewhere, and Ctrl-C stops it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stet_app::{App, BuildMode, Job, ProjectEvent};
use stet_domain::Actor;
use tokio::sync::broadcast::error::RecvError;

use crate::failure::Failure;
use crate::listen::Interrupt;
use crate::output;

/// How often the bar moves when nothing else happens.
const TICK: Duration = Duration::from_millis(120);

/// Builds a dataset and waits for the end, telling on stderr how far it is. The end may not be kept in the node database
/// yet: `App::shutdown` waits for that.
///
/// # Errors
/// When the build cannot start; how it ended is in the job.
pub(crate) async fn build(
    app: &App,
    actor: &Actor,
    project: &str,
    dataset: &str,
    mode: BuildMode,
    interrupt: &Interrupt,
) -> Result<Job, Failure> {
    let mut events = app.watch_project(actor, project)?;
    let started = app.start_build(actor, project, dataset, mode).await?;
    let display = Display::new();
    let mut asked_to_stop = false;
    let job = loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = interrupt.wait(), if !asked_to_stop => {
                asked_to_stop = true;
                // It may have ended in this moment, which the next event tells.
                let _ = app.cancel_build(actor, project, started.id).await;
                continue;
            }
        };
        match event {
            Ok(ProjectEvent::Job(job)) if job.id == started.id => {
                if job.state.has_ended() {
                    break *job;
                }
                display.job(&job);
            }
            Ok(ProjectEvent::Log { job, line, .. }) if job == started.id => display.line(&line.text),
            Ok(_) => {}
            Err(RecvError::Lagged(_) | RecvError::Closed) => {
                let (job, _) = app.build(actor, project, started.id).await?;
                if job.state.has_ended() {
                    break job;
                }
                events = app.watch_project(actor, project)?;
            }
        }
    };
    display.end();
    Ok(job)
}

enum Display {
    Bar(ProgressBar),
    Lines,
}

impl Display {
    fn new() -> Display {
        if !output::stderr_is_terminal() {
            return Display::Lines;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(TICK);
        Display::Bar(bar)
    }

    fn job(&self, job: &Job) {
        let Display::Bar(bar) = self else { return };
        let progress = &job.progress;
        let dataset = progress.dataset.as_ref().map_or("waiting", |dataset| dataset.as_str());
        bar.set_prefix(format!("{}/{}", (progress.step + 1).min(progress.steps), progress.steps));
        bar.set_message(dataset.to_owned());
        // The templates are ours and right, so the styles are too; without one the bar would only look plainer.
        let template = match progress.rows_total {
            Some(total) => {
                bar.set_length(total);
                "{spinner} {prefix} {msg} {bar:30} {human_pos}/{human_len} rows"
            }
            // A query may work long before its first row.
            None if progress.rows_done == 0 => "{spinner} {prefix} {msg}",
            None => "{spinner} {prefix} {msg} {human_pos} rows",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(progress.rows_done);
    }

    fn line(&self, text: &str) {
        if let Display::Lines = self {
            output::note(&crate::table::shown_word(text));
        }
    }

    fn end(&self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
