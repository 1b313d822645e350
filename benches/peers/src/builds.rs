//! Measures how long the smallest program that uses a peer takes to build, and counts its crates.
//!
//! Each program is a project with its own target directory, and uses the same versions as this
//! program. Downloads are done before the clock starts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;

use crate::sample::Sample;

pub struct Program {
    pub name: &'static str,
    dependencies: &'static str,
    main: &'static str,
}

#[derive(Default)]
pub struct Build {
    /// Seconds.
    pub times: Sample,
    /// The number of crates that were compiled, including the program.
    pub crates: usize,
}

/// The first is the base of the comparison, and the next three are countersign.
pub const PROGRAMS: [Program; 9] = [
    Program {
        name: "only hmac, sha2 and getrandom",
        dependencies: "hmac = '0.13'\nsha2 = '0.11'\ngetrandom = '0.4'",
        main: include_str!("programs/bare.rs"),
    },
    Program {
        name: "countersign",
        dependencies: concat!(
            "countersign = { path = '",
            env!("CARGO_MANIFEST_DIR"),
            "/../..' }"
        ),
        main: include_str!("programs/countersign.rs"),
    },
    Program {
        name: "countersign without `net`",
        dependencies: concat!(
            "countersign = { path = '",
            env!("CARGO_MANIFEST_DIR"),
            "/../..', default-features = false, features = ['std'] }"
        ),
        main: include_str!("programs/countersign.rs"),
    },
    Program {
        name: "countersign with `encrypt`",
        dependencies: concat!(
            "countersign = { path = '",
            env!("CARGO_MANIFEST_DIR"),
            "/../..', features = ['encrypt'] }"
        ),
        main: include_str!("programs/encrypt.rs"),
    },
    Program {
        name: "SCRAM (pbkdf2, hmac, sha2, base64, getrandom)",
        dependencies: "pbkdf2 = { version = '0.13', default-features = false, features = ['hmac'] }\n\
            hmac = '0.13'\nsha2 = '0.11'\nbase64 = '0.23'\ngetrandom = '0.4'",
        main: include_str!("programs/scram.rs"),
    },
    Program {
        name: "Noise (snow)",
        dependencies: "snow = '0.10'",
        main: include_str!("programs/noise.rs"),
    },
    Program {
        name: "TLS 1.3 PSK (openssl, the system's library)",
        dependencies: "openssl = '0.10'",
        main: include_str!("programs/psk.rs"),
    },
    Program {
        name: "mutual TLS (rustls, ring)",
        dependencies: "rustls = { version = '0.23', default-features = false, features = ['ring', 'std'] }",
        main: include_str!("programs/mutual.rs"),
    },
    Program {
        name: "mutual TLS (rustls, aws-lc-rs)",
        dependencies: "rustls = { version = '0.23', default-features = false, features = ['aws_lc_rs', 'std'] }",
        main: include_str!("programs/mutual.rs"),
    },
];

/// A goal compares the first three, so these are built several times, in turn and from scratch.
const COMPARED: usize = 3;
const TIMES: usize = 3;

/// Returns the number of all builds.
pub const STEPS: usize = COMPARED * TIMES + PROGRAMS.len() - COMPARED;

/// No further build begins after this time, so that all builds together take less than ten minutes.
const PATIENCE: Duration = Duration::from_secs(4 * 60);

pub fn measure(bar: &ProgressBar) -> Vec<(&'static str, Result<Build>)> {
    let start = Instant::now();
    let mut builds: Vec<_> = (PROGRAMS.iter())
        .map(|program| (program, Ok(Build::default())))
        .collect();
    let (compared, others) = builds.split_at_mut(COMPARED);
    for _ in 0..TIMES {
        for (program, build) in &mut *compared {
            add(program, build, start, bar);
        }
    }
    for (program, build) in others {
        add(program, build, start, bar);
    }
    (builds.into_iter())
        .map(|(program, build)| (program.name, build))
        .collect()
}

fn add(program: &Program, build: &mut Result<Build>, start: Instant, bar: &ProgressBar) {
    bar.set_message(format!("building: {}", program.name));
    bar.inc(1);
    let Ok(so_far) = build else { return };
    let outcome = if start.elapsed() < PATIENCE {
        once(program)
    } else {
        Err(anyhow!("the builds before this one took too long"))
    };
    match outcome {
        Ok((time, crates)) => {
            so_far.times.push_time(time);
            so_far.crates = crates;
        }
        // A failure after a successful build does not discard it.
        Err(_) if so_far.crates > 0 => {}
        Err(error) => *build = Err(error),
    }
}

fn once(program: &Program) -> Result<(Duration, usize)> {
    let project = tempfile::tempdir()?;
    let path = project.path();
    fs::create_dir(path.join("src"))?;
    fs::write(path.join("src/main.rs"), program.main)?;
    let manifest = format!(
        "[package]\nname = 'smallest'\nversion = '0.0.0'\nedition = '2024'\n\n[workspace]\n\n\
         [dependencies]\n{}\n",
        program.dependencies
    );
    fs::write(path.join("Cargo.toml"), manifest)?;
    // Cargo keeps the versions that the program needs.
    fs::write(path.join("Cargo.lock"), include_str!("../Cargo.lock"))?;
    cargo(path, &["fetch"])?;
    let start = Instant::now();
    let output = cargo(path, &["build", "--release", "--message-format", "json"])?;
    let time = start.elapsed();
    let mut crates = BTreeSet::new();
    for line in output.stdout.split(|&byte| byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else {
            continue;
        };
        if message["reason"] == "compiler-artifact" {
            crates.insert(message["package_id"].to_string());
        }
    }
    Ok((time, crates.len()))
}

fn cargo(path: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    // The build of a peer does not use the caches or flags of the user.
    for variable in [
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
    ] {
        command.env_remove(variable);
    }
    let output = command
        .args(arguments)
        .current_dir(path)
        .env("CARGO_TARGET_DIR", path.join("target"))
        .stdin(Stdio::null())
        .output()
        .context("cargo does not run")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let error = errors.lines().find(|line| line.starts_with("error"));
        bail!("cargo: {}", error.unwrap_or("failed"));
    }
    Ok(output)
}
