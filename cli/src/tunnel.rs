//! `countersign tunnel`.

use crate::Failure;

#[derive(clap::Subcommand)]
pub enum Args {}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is like the other commands"
)]
pub fn run(args: Args) -> Result<(), Failure> {
    match args {}
}
