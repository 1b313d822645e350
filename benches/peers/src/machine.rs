//! Describes the machine and the software of the measurement.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use time::{Date, OffsetDateTime};

use crate::peers::psk;

pub struct Machine {
    pub date: Date,
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    /// The load of the machine before the measurement.
    pub load: Option<String>,
    pub rustc: String,
    pub openssl: String,
    pub python: Option<String>,
    pub pinned: bool,
}

impl Machine {
    pub fn ask() -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let load = fs::read_to_string("/proc/loadavg").ok();
        Self {
            date: OffsetDateTime::now_utc().date(),
            cpu: cpu().unwrap_or_else(|| text(uname.machine())),
            cores: available_parallelism().map_or(1, Into::into),
            kernel: format!(
                "{} {}",
                text(uname.sysname()),
                major_and_minor(&text(uname.release()))
            ),
            load: load.and_then(|load| Some(load.split(' ').next()?.to_owned())),
            rustc: rustc().unwrap_or_else(|| "unknown".to_owned()),
            openssl: psk::version(),
            python: None,
            pinned: false,
        }
    }

    /// Called before there is a second thread or process, which inherits the core.
    pub fn pin(&mut self) {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        self.pinned = cores
            .last()
            .is_some_and(|&core| core_affinity::set_for_current(core));
    }
}

/// Returns only these two numbers: the rest identifies the machine and does not matter for the
/// measurement.
fn major_and_minor(release: &str) -> String {
    let numbers: Vec<_> = release
        .split(|character: char| !character.is_ascii_digit())
        .take(2)
        .collect();
    numbers.join(".")
}

fn cpu() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    let (_, model) = line.split_once(':')?;
    let extensions = if info.contains(" sha_ni") {
        "with SHA extensions"
    } else {
        "without SHA extensions"
    };
    Some(format!("{}, {extensions}", model.trim()))
}

fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    version.split(' ').nth(1).map(str::to_owned)
}

/// Returns the version of a crate in this program: the newest, if there are several.
pub fn version_of(name: &str) -> &'static str {
    const LOCK: &str = include_str!("../Cargo.lock");
    let head = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK
        .rsplit_once(&head)
        .and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown")
}
