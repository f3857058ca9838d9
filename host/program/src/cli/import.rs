use std::path::{Path, PathBuf};

use super::migrate::{Copying, judge};
use super::output::print;
use super::progress::{on_progress, summary};
use super::store::{Store, open_target};
use reflow_tracing::migration::ExportFile;

/// Store what was exported
///
/// The file is checked to its last line before anything of it is stored. What the store has already stays, and nothing is
/// stored twice, so an import that was interrupted can be done again, or resumed.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    store: Store,
    /// The file, compressed or not; - reads it from stdin
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
    // The checksum says which file it is, wherever it lies.
    let about = format!("the export {} into {url}", file.digest().checksum);
    let options = args.copying.options(about, &config, &url, on_progress());
    let outcome = file.import_into(&*storage, &options).await;
    // And with them the progress bar.
    drop(options);
    let closed = storage.close().await;
    let report = outcome?;
    closed?;
    print(|out| out.write_all(summary(&report, "imported").as_bytes()))?;
    judge(&report)
}
