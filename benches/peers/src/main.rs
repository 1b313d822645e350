//! Compares countersign with its alternatives in one run on this machine. Each login is compared
//! with its neighbours of the other kinds.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --report    # all of it, in minutes
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --quick     # whether it runs
//! ```
//!
//! The first writes `BENCHMARKS.md` to the root of the repository, and two pictures to the
//! directory of this program. The last parts of the file are of other benches, and stay. The second
//! prints the same tables from a few rounds, without builds, and writes no file.

#![allow(clippy::indexing_slicing, reason = "a failed bench panics")]

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use lexopt::{Arg, Parser};

mod allocations;
mod builds;
mod core;
mod crowd;
mod idle;
mod logins;
mod machine;
mod memory;
mod peers;
mod pictures;
mod python;
mod records;
mod report;
mod results;
mod sample;

use results::{Extent, Results};

fn main() -> Result<()> {
    let mut extent = None;
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        extent = Some(match argument {
            Arg::Long("report") => Extent::REPORT,
            Arg::Long("quick") => Extent::QUICK,
            other => return Err(other.unexpected().into()),
        });
    }
    let Some(extent) = extent else {
        bail!("give --report or --quick");
    };
    let bar = ProgressBar::new(extent.steps());
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} [{bar:40}] {percent:>3} % {msg}",
    )?);
    let results = Results::measure(&extent, &bar)?;
    bar.finish_with_message("done");

    let report = report::of(&results);
    if !extent.writes {
        println!("{report}");
        return Ok(());
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pictures = own.join("pictures");
    fs::create_dir_all(&pictures)?;
    fs::write(pictures.join("login.svg"), pictures::login(&results)?)?;
    fs::write(
        pictures.join("concurrency.svg"),
        pictures::concurrency(&results)?,
    )?;
    let path = own.join("../../BENCHMARKS.md");
    let kept = last_parts(&path)?;
    fs::write(path, report + "\n" + &kept)?;
    println!("Wrote BENCHMARKS.md and two pictures.");
    Ok(())
}

/// Returns the last parts of the file, which are measured by other benches.
fn last_parts(path: &Path) -> Result<String> {
    const HEADING: &str = "## Listeners in floods and herds\n";
    let before = fs::read_to_string(path)?;
    match before.split_once(HEADING) {
        Some((_, parts)) => Ok(format!("{HEADING}{parts}")),
        None => bail!("{} has no part \"{}\"", path.display(), HEADING.trim_end()),
    }
}
