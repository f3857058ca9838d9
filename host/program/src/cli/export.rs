use std::io::Write;
use std::path::{Path, PathBuf};

use super::copying::judge;
use super::filter::Filter;
use super::output::{self, print};
use super::printable::{Place, Printable};
use super::progress::{on_progress, summary};
use super::source::Source;
use reflow_tracing::migration::{Backup, CopyOptions};

/// Export the traces of a store or of a running host to a file, for import into another store
///
/// The file is compressed when its name ends in .zst. It appears only when it is complete.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The file; - for stdout
    file: PathBuf,
    #[command(flatten)]
    filter: Filter,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let storage = args.source.open().await?;
    let options = CopyOptions { on_progress: Some(on_progress()), ..CopyOptions::default() };
    let filter = args.filter.query();
    let to_stdout = args.file == Path::new("-");
    let outcome = if to_stdout {
        let stdout = std::io::stdout();
        if output::is_terminal() {
            storage.export_to_writer(Printable::new(stdout, Place::Json), "stdout", filter, &options).await
        } else {
            storage.export_to_writer(stdout, "stdout", filter, &options).await
        }
    } else {
        storage.export_to_file_with(&args.file, filter, &options).await
    };
    // Removes the progress bar.
    drop(options);
    let closed = storage.close().await;
    let report = outcome?;
    closed?;
    let summary = summary(&report, "exported");
    if to_stdout {
        // stdout holds the export.
        let _ = output::stderr().write_all(summary.as_bytes());
    } else {
        print(|out| out.write_all(summary.as_bytes()))?;
    }
    judge(&report)
}
