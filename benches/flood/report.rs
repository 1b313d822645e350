//! The rows of the tables.

use std::fmt;
use std::time::Duration;

pub const HEAD: &str = "\
| scene | server | first try | in | p50 | p99 | logins/s | evictions | threads | memory | simulated |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

/// What became of the honest clients.
pub struct Logins {
    clients: usize,
    first: usize,
    /// In ascending order.
    times: Vec<Duration>,
    /// The time until the last client was in or had given up.
    took: Duration,
    /// How often one was cut.
    pub cut: usize,
}

impl Logins {
    /// Parses what the clients print.
    pub fn of(lines: &str) -> Self {
        let mut lines: Vec<&str> = lines.lines().collect();
        let took = lines.pop().unwrap().parse().unwrap();
        let mut logins = Self {
            clients: lines.len(),
            first: 0,
            times: Vec::new(),
            took: Duration::from_micros(took),
            cut: 0,
        };
        for line in lines {
            let (tries, outcome) = line.split_once(' ').unwrap();
            let tries: usize = tries.parse().unwrap();
            logins.cut += tries - 1;
            if let Ok(micros) = outcome.parse() {
                logins.times.push(Duration::from_micros(micros));
                logins.first += usize::from(tries == 1);
            }
        }
        logins.times.sort();
        logins
    }

    fn percent(&self, count: usize) -> String {
        // Rounded down, so that 100 means all.
        format!("{} %", 100 * count / self.clients)
    }

    fn percentile(&self, percent: usize) -> String {
        let last = self.times.len().saturating_sub(1);
        match self.times.get((self.times.len() * percent / 100).min(last)) {
            Some(time) if time.as_millis() < 10 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
            Some(time) => format!("{} ms", time.as_millis()),
            None => "–".to_owned(),
        }
    }

    fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.times.len()).unwrap()) / self.took.as_secs_f64()
    }
}

pub struct Row<'s> {
    pub scene: &'s str,
    pub server: &'s str,
    pub logins: Logins,
    pub evictions: usize,
    pub threads: usize,
    pub kib: usize,
    pub simulated: &'s str,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logins = &self.logins;
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {:.0} | {} | {} | {:.1} MiB | {} |",
            self.scene,
            self.server,
            logins.percent(logins.first),
            logins.percent(logins.times.len()),
            logins.percentile(50),
            logins.percentile(99),
            logins.rate(),
            self.evictions,
            self.threads,
            f64::from(u32::try_from(self.kib).unwrap()) / 1024.0,
            self.simulated,
        )
    }
}
