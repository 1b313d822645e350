//! The table of the attack book, and the outcome of an attack in the words of that table.

use super::stage::Wire;

/// The attack book, which is the last part of `EVIDENCE.md`.
fn book() -> &'static str {
    let evidence = include_str!("../../EVIDENCE.md");
    evidence.split_once("\n## The attack book\n").unwrap().1
}

const COLUMNS: usize = 6;

/// Asserts that the row of this attack says what its outcome is.
#[track_caller]
pub fn compare(attack: &str, fates: &Fates) {
    let told = rows().into_iter().find(|row| row[0] == attack);
    let told = told.unwrap_or_else(|| panic!("no row is called {attack:?}"));
    let came = [
        &fates.recipe,
        &fates.multiprocessing,
        &fates.native,
        &fates.with.join("; "),
    ];
    let names = ["recipe", "multiprocessing", "native", "native, with more"];
    for ((name, came), told) in names.into_iter().zip(came).zip(&told[2..]) {
        assert_eq!(
            came, told,
            "{attack}, {name}: the outcome, and what the book says"
        );
    }
}

/// The outcome of an attack on each wire.
pub struct Fates {
    pub recipe: String,
    pub multiprocessing: String,
    pub native: String,
    /// Native, with the means against the attack.
    pub with: Vec<String>,
}

impl Fates {
    /// Carries out an attack on every wire. `succeeds` returns whether it succeeded.
    pub fn of(succeeds: impl Fn(Wire) -> bool) -> Self {
        Self {
            recipe: fate(succeeds(Wire::Recipe)),
            multiprocessing: fate(succeeds(Wire::Multiprocessing)),
            native: fate(succeeds(Wire::Native)),
            with: Vec::new(),
        }
    }

    /// The outcome of an attack on something that only the native wire has.
    pub fn of_native(succeeds: bool) -> Self {
        Self {
            recipe: not_applicable(),
            multiprocessing: not_applicable(),
            native: fate(succeeds),
            with: Vec::new(),
        }
    }

    /// Adds the outcome on the native wire in other circumstances, such as "in mode 1".
    pub fn with(mut self, circumstances: &str, succeeds: bool) -> Self {
        self.with
            .push(format!("{} {circumstances}", fate(succeeds)));
        self
    }

    /// Marks the outcomes on the first two wires as computed, without a server of theirs.
    pub fn computed(mut self) -> Self {
        for fate in [&mut self.recipe, &mut self.multiprocessing] {
            fate.push_str(" (computed)");
        }
        self
    }
}

pub fn fate(succeeded: bool) -> String {
    if succeeded { "falls" } else { "stands" }.to_owned()
}

fn not_applicable() -> String {
    "not applicable".to_owned()
}

/// Returns the cells of each row of the book.
pub fn rows() -> Vec<Vec<&'static str>> {
    let lines = book().lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<Vec<_>> = lines.map(cells).collect();
    for row in &rows {
        assert_eq!(row.len(), COLUMNS, "{row:?}");
    }
    rows
}

/// Returns the attacks that are explained below the table.
pub fn explained() -> Vec<&'static str> {
    let headings = book().lines().filter_map(|line| line.strip_prefix("### "));
    headings.collect()
}
