//! Compares the goals with the measurements.

use std::fmt::Write;

use crate::peers::Id;
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
                let decimals = if goal.whole { 0 } else { 2 };
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
    whole: bool,
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
            whole: false,
        }
    }
}

fn all(results: &Results) -> Vec<Goal> {
    let ratio = |of: Id, than: Id| Some(results.login(of)?.against(results.login(than)?));
    let mut goals = vec![Goal::new(
        "a login, times the floor",
        Bound::AtMost(1.04),
        ratio(Id::Native, Id::Floor),
    )];
    let faster = [
        (Id::PythonMultiprocessing, 3.0),
        (Id::Noise, 3.7),
        (Id::Psk, 4.8),
        (Id::PskDhe, 6.5),
        (Id::Mutual, 7.5),
        (Id::Scram, 7.5),
    ];
    goals.extend(faster.map(|(id, times)| {
        let what = format!(
            "a login, times faster than {}{}",
            id.name(),
            implementation(id)
        );
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

    let core = &results.core;
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

    let rates = results.crowd(Id::Native);
    let flat = rates.map(|rates| rates.cpu[2].against(&rates.cpu[0]));
    goals.push(Goal::new(
        "CPU of a login at 1,000 clients, relative to 1 client",
        Bound::AtMost(1.2),
        flat,
    ));

    if let [(_, bare), (_, ours), ..] = &*results.builds {
        let builds = bare.as_ref().ok().zip(ours.as_ref().ok());
        goals.push(Goal::new(
            "cold build of the smallest program, relative to one of hmac, sha2 and getrandom",
            Bound::AtMost(1.3),
            builds.map(|(bare, ours)| ours.times.against(&bare.times)),
        ));
        #[expect(clippy::cast_precision_loss, reason = "some dozens")]
        let crates = builds.map(|(_, ours)| ours.crates as f64);
        goals.push(Goal {
            measured: crates,
            whole: true,
            ..Goal::new("crates, including the program", Bound::AtMost(20.0), None)
        });
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
