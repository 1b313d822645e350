//! The table of `ATTACKS.md`, and what an attack came to, in the words of that table.

use super::stage::Wire;

const BOOK: &str = include_str!("../../ATTACKS.md");

const COLUMNS: usize = 6;

/// Asserts that the row of this attack says what came of it.
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
        assert_eq!(came, told, "{attack}, {name}: what came, and what is told");
    }
}

/// What an attack came to on each wire.
pub struct Fates {
    pub recipe: String,
    pub multiprocessing: String,
    pub native: String,
    /// Native with what is there to stop the attack.
    pub with: Vec<String>,
}

impl Fates {
    /// Carries an attack out on every wire, where it says whether it succeeded.
    pub fn of(succeeds: impl Fn(Wire) -> bool) -> Self {
        Self {
            recipe: fate(succeeds(Wire::Recipe)),
            multiprocessing: fate(succeeds(Wire::Multiprocessing)),
            native: fate(succeeds(Wire::Native)),
            with: Vec::new(),
        }
    }

    /// An attack on something that only the native wire has.
    pub fn of_native(succeeds: bool) -> Self {
        Self {
            recipe: not_applicable(),
            multiprocessing: not_applicable(),
            native: fate(succeeds),
            with: Vec::new(),
        }
    }

    /// What the same attack came to on the native wire in other circumstances, such as
    /// "in mode 1".
    pub fn with(mut self, circumstances: &str, succeeds: bool) -> Self {
        self.with
            .push(format!("{} {circumstances}", fate(succeeds)));
        self
    }

    /// Marks what was found out on the first two wires without a server of theirs.
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

/// The rows of the book, cell by cell.
pub fn rows() -> Vec<Vec<&'static str>> {
    let lines = BOOK.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<Vec<_>> = lines.map(cells).collect();
    for row in &rows {
        assert_eq!(row.len(), COLUMNS, "{row:?}");
    }
    rows
}

/// The attacks that are explained below the table.
pub fn explained() -> Vec<&'static str> {
    let headings = BOOK.lines().filter_map(|line| line.strip_prefix("### "));
    headings.collect()
}
