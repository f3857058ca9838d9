use std::path::{Path, PathBuf};

use super::copying::{Copying, judge};
use super::output::print;
use super::progress::{on_progress, summary};
use super::store::{Store, open_target};
use reflow_tracing::migration::ExportFile;

/// Import an exported file into a store
///
/// The whole file is checked before any trace is stored. Traces that are already in the store stay, and nothing is stored
/// twice: an interrupted import can be repeated or resumed.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    store: Store,
    /// The file, compressed or not; - for stdin
    file: PathBuf,
    #[command(flatten)]
    copying: Copying,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let (url, config) = args.store.describe()?;
    let file = if args.file == Path::new("-") {
        ExportFile::receive(std::io::stdin(), "stdin").await?
    } else {
        ExportFile::open(&args.file).await?
    };
    let storage = open_target(&config, &url).await?;
    // The checksum identifies the file even after it was moved.
    let about = format!("the export {} into {url}", file.digest().checksum);
    let options = args.copying.options(about, &config, &url, on_progress());
    let outcome = file.import_into(&*storage, &options).await;
    // Removes the progress bar.
    drop(options);
    let closed = storage.close().await;
    let report = outcome?;
    closed?;
    print(|out| out.write_all(summary(&report, "imported").as_bytes()))?;
    judge(&report)
}
