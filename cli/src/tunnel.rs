//! `countersign tunnel`.

use crate::Failure;

#[derive(clap::Subcommand)]
pub enum Args {}

pub fn run(args: Args) -> Result<(), Failure> {
    match args {}
}
