//! `stet build`: makes a dataset, beside a running node or without one.

use stet_app::{BuildMode, JobState};

use crate::Global;
use crate::failure::Failure;
use crate::listen::Interrupt;
use crate::names::{self, DatasetArgument};
use crate::output::{self, PrintFormat};
use crate::{node, progress, report};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The dataset to build, such as BIRDSTRIKES.strikes_edited
    #[arg(value_name = "PROJECT.DATASET")]
    dataset: DatasetArgument,
    /// Which datasets to build
    #[arg(long, value_enum, default_value_t = Mode::Required)]
    mode: Mode,
    /// How to print the account of the build
    #[arg(long, value_enum, default_value_t)]
    format: PrintFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Mode {
    /// The dataset alone, of its inputs as they are
    Only,
    /// The dataset and all that it is made of, as far as they are not up to date
    Required,
    /// The dataset and all that it is made of, whether up to date or not
    Force,
}

pub(crate) async fn run(global: &Global, arguments: Arguments) -> Result<(), Failure> {
    let app = node::open(global).await?;
    let actor = node::actor();
    names::dataset(&app, &actor, &arguments.dataset)?;
    let mode = match arguments.mode {
        Mode::Only => BuildMode::Only,
        Mode::Required => BuildMode::Required,
        Mode::Force => BuildMode::Force,
    };
    let DatasetArgument { project, dataset } = &arguments.dataset;
    let job = progress::build(&app, &actor, project, dataset, mode, &Interrupt::watch()).await?;
    app.shutdown().await;
    match arguments.format {
        PrintFormat::Json => output::print_json(&job)?,
        PrintFormat::Text => output::print(&report::summary(project, &job))?,
    }
    match (job.state, &job.error) {
        (JobState::Done, _) => Ok(()),
        (_, Some(error)) => Err(Failure::no(format!("{project}.{dataset} was not built: {error}"))),
        (state, None) => Err(Failure::no(format!("{project}.{dataset} was not built: {}", state.as_str()))),
    }
}
