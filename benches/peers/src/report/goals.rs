//! Compares the goals with the measurements.

use std::fmt::Write;

use crate::allocations::COUNTED;
use crate::peers::Id;
use crate::records::{Flow, Kind, Size};
use crate::results::Results;
use crate::sample::Quartiles;

pub fn of(results: &Results) -> String {
    let mut text = "\
## Goals

| goal | measured | met |
|---|---|---|
"
    .to_owned();
    for goal in all(results) {
        let (measured, met) = match goal.measured {
            Some(measured) => {
                let met = match goal.bound {
                    Bound::AtMost(bound) => measured <= bound,
                    Bound::AtLeast(bound) => measured >= bound,
                };
                let yes = if met { "yes" } else { "**no**" };
                let decimals = if measured.fract() == 0.0 { 0 } else { 2 };
                (format!("{measured:.decimals$}{}", goal.detail), yes)
            }
            None => ("not run".to_owned(), "–"),
        };
        let bound = match goal.bound {
            Bound::AtMost(bound) => format!("at most {bound}"),
            Bound::AtLeast(bound) => format!("at least {bound}"),
        };
        let _ = writeln!(text, "| {}: {bound} | {measured} | {met} |", goal.what);
    }
    text
}

struct Goal {
    what: String,
    bound: Bound,
    measured: Option<f64>,
    /// Printed after the number.
    detail: String,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn new(what: impl Into<String>, bound: Bound, measured: Option<Quartiles>) -> Self {
        Self {
            what: what.into(),
            bound,
            measured: measured.map(|ratio| ratio.median),
            detail: measured.map_or_else(String::new, |ratio| {
                format!(" ({:.2} to {:.2})", ratio.lower, ratio.upper)
            }),
        }
    }

    fn count(what: impl Into<String>, most: f64, measured: Option<f64>) -> Self {
        Self {
            measured,
            ..Self::new(what, Bound::AtMost(most), None)
        }
    }
}

fn all(results: &Results) -> Vec<Goal> {
    let mut goals = logins(results);
    goals.extend(core(results));
    let rates = results.crowd(Id::Native);
    let flat = rates.map(|rates| rates.cpu[2].against(&rates.cpu[0]));
    goals.push(Goal::new(
        "CPU of a login at 1,000 clients, relative to 1 client",
        Bound::AtMost(1.2),
        flat,
    ));
    goals.extend(records(results));
    goals.extend(builds(results));
    goals
}

fn logins(results: &Results) -> Vec<Goal> {
    let ratio = |of: Id, than: Id| Some(results.login(of)?.against(results.login(than)?));
    let mut goals = vec![
        Goal::new(
            "a login, times the floor",
            Bound::AtMost(1.04),
            ratio(Id::Native, Id::Floor),
        ),
        Goal::new(
            "a login with a timeout, times the floor",
            Bound::AtMost(1.1),
            ratio(Id::NativeTimeout, Id::Floor),
        ),
    ];
    let faster = [
        (Id::PythonMultiprocessing, 3.0),
        (Id::Noise, 3.7),
        (Id::Psk, 4.8),
        (Id::PskDhe, 6.5),
        (Id::Mutual, 7.5),
        (Id::Scram, 7.5),
    ];
    goals.extend(faster.map(|(id, times)| {
        let what = faster_than("a login", id);
        let mut goal = Goal::new(what, Bound::AtLeast(times), ratio(id, Id::Native));
        if id == Id::Scram
            && let Some(cached) = ratio(Id::ScramCached, Id::Native)
        {
            let _ = write!(
                goal.detail,
                "; with keys cached by the client {:.2}, without a goal",
                cached.median
            );
        }
        goal
    }));
    let faster = [(Id::Noise, 1.2), (Id::PskDhe, 2.0), (Id::Mutual, 1.7)];
    goals.extend(faster.map(|(id, times)| {
        let what = faster_than("a login with `encrypt`", id);
        Goal::new(what, Bound::AtLeast(times), ratio(id, Id::Encrypt))
    }));
    goals
}

fn faster_than(what: &str, id: Id) -> String {
    let by = implementation(id);
    format!("{what}, times faster than {}{by}", id.name())
}

fn core(results: &Results) -> Vec<Goal> {
    let core = &results.core;
    let mut goals = Vec::new();
    for (base, split) in [
        (&core.one_call, "nine compressions in one call"),
        (&core.three_tags, "nine split for three tags"),
    ] {
        for (side, name) in [(&core.client, "client"), (&core.server, "server")] {
            let what =
                format!("CPU of the {name} without the random number generator, times {split}");
            goals.push(Goal::new(
                what,
                Bound::AtMost(1.55),
                Some(side.against(base)),
            ));
        }
    }
    for (side, in_mode_0, name) in [
        (&core.encrypting_client, &core.client, "client"),
        (&core.encrypting_server, &core.server, "server"),
    ] {
        let base = core.multiplications.plus(in_mode_0);
        let what = format!(
            "CPU of the {name} with `encrypt`, times two multiplications and its work without"
        );
        goals.push(Goal::new(
            what,
            Bound::AtMost(1.1),
            Some(side.against(&base)),
        ));
    }
    goals
}

fn records(results: &Results) -> Vec<Goal> {
    let speed = |size, of, than| {
        let (of, than) = (results.records(size, of)?, results.records(size, than)?);
        Some(than.times.against(&of.times))
    };
    let (protect, encrypt) = (Kind::Protect, Kind::Encrypt);
    let speeds = [
        (Size::LARGE, encrypt, Kind::Gcm, 0.93),
        (Size::LARGE, encrypt, protect, 1.0),
        (Size::SMALL, protect, Kind::Hmac, 0.9),
        (Size::SMALL, encrypt, Kind::Gcm, 0.9),
    ];
    let speeds = speeds.map(|(size, of, than, least)| {
        let what = format!(
            "{}: speed of {}, times {}",
            size.records(),
            of.name(),
            than.name()
        );
        Goal::new(what, Bound::AtLeast(least), speed(size, of, than))
    });
    let both = Kind::OURS.map(|kind| Size::ALL.map(|size| results.records(size, kind)));
    let ours: Option<Vec<&Flow>> = both.into_iter().flatten().collect();
    let most = |of: &dyn Fn(&Flow) -> f64| {
        let flows = ours.as_ref()?;
        Some(flows.iter().map(|flow| of(flow)).fold(0.0, f64::max))
    };
    let calls = |flow: &Flow| flow.calls().into_iter().fold(0.0, f64::max);
    let idle: Option<Vec<f64>> = (results.idle.iter())
        .map(|(_, bytes)| bytes.as_ref().ok().copied())
        .collect();
    let mut goals = Vec::from(speeds);
    goals.extend([
        Goal::count(
            "system calls of an end for a record of `protect` or `encrypt`",
            1.0,
            most(&calls),
        ),
        Goal::count(
            "allocations for a record of `protect` or `encrypt`",
            0.0,
            most(&Flow::allocations).filter(|_| COUNTED),
        ),
        Goal::count(
            "bytes of an idle secured stream",
            4096.0,
            idle.map(|all| all.into_iter().fold(0.0, f64::max)),
        ),
    ]);
    goals
}

fn builds(results: &Results) -> Vec<Goal> {
    let built = |place: usize| results.builds.get(place)?.1.as_ref().ok();
    let time = |place| {
        let (bare, ours) = (built(0)?, built(place)?);
        Some(ours.times.against(&bare.times))
    };
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let crates = |place| Some(built(place)?.crates as f64);
    let mut goals = Vec::new();
    for (place, most, how) in [(1, 24.0, "by default"), (2, 20.0, "without `net`")] {
        let what = format!("cold build {how}, relative to one of hmac, sha2 and getrandom");
        goals.push(Goal::new(what, Bound::AtMost(1.3), time(place)));
        let what = format!("crates {how}, including the program");
        goals.push(Goal::count(what, most, crates(place)));
    }
    goals
}

/// Returns the implementation of a protocol that has many: the times are the implementation's.
fn implementation(id: Id) -> &'static str {
    match id {
        Id::Noise => ", by snow",
        Id::Psk | Id::PskDhe => ", by OpenSSL",
        Id::Mutual => ", by rustls",
        _ => "",
    }
}
