//! Test data, the same at each first start but for the dates, which are days before the first start.

use crate::bounds::USERS;
use crate::ids;
use crate::store::{Tx, now_ms};
use anyhow::Context;
use serde::Serialize;

const DAY_MS: i64 = 24 * 3600 * 1000;

const GIVEN: [&str; 20] = [
    "Alice",
    "Bruno",
    "Chloé",
    "David",
    "Élise",
    "Farid",
    "Gaëlle",
    "Hugo",
    "Inès",
    "Jules",
    "Karima",
    "Louis",
    "Maëlys",
    "Nadir",
    "Océane",
    "Paul",
    "Romane",
    "Samir",
    "Thérèse",
    "Yann",
];
const FAMILY: [&str; 25] = [
    "Martin", "Bernard", "Thomas", "Petit", "Robert", "Richard", "Durand", "Dubois", "Moreau", "Laurent", "Simon",
    "Michel", "Lefebvre", "Leroy", "Roux", "David", "Bertrand", "Morel", "Fournier", "Girard", "Bonnet", "Dupont",
    "Lambert", "Fontaine", "Rousseau",
];
/// Towns with a post office of the estate, and their postcodes.
pub(crate) const TOWNS: [(&str, &str); 20] = [
    ("Paris Louvre", "75001"),
    ("Marseille Colbert", "13001"),
    ("Lyon Bellecour", "69002"),
    ("Toulouse Capitole", "31000"),
    ("Nice Thiers", "06000"),
    ("Nantes Bretagne", "44000"),
    ("Montpellier Comédie", "34000"),
    ("Strasbourg Cathédrale", "67000"),
    ("Bordeaux Meriadeck", "33000"),
    ("Lille République", "59000"),
    ("Rennes République", "35000"),
    ("Reims Cérès", "51100"),
    ("Toulon Liberté", "83000"),
    ("Grenoble Championnet", "38000"),
    ("Dijon Grangier", "21000"),
    ("Angers Ralliement", "49000"),
    ("Brest Liberté", "29200"),
    ("Limoges Jourdan", "87000"),
    ("Ajaccio Fesch", "20000"),
    ("Bayonne Labat", "64100"),
];

/// Given and family name of user `n`; with a number, since there are more users than names.
pub(crate) fn name(n: u32) -> (&'static str, &'static str) {
    (GIVEN[n as usize % GIVEN.len()], FAMILY[(n as usize / GIVEN.len()) % FAMILY.len()])
}

/// One thing that happened to a parcel.
pub(crate) struct Event {
    pub(crate) code: &'static str,
    pub(crate) site: &'static str,
    pub(crate) at_ms: i64,
}

/// What happened to seeded parcel `n`, oldest first: one to five steps of its way; each fifth parcel is delivered.
pub(crate) fn parcel_events(n: u32, today_ms: i64) -> Vec<Event> {
    const WAY: [&str; 5] = ["DR1", "PC1", "ET1", "MD2", "DI1"];
    let steps = n as usize % WAY.len() + 1;
    let age_days = i64::from(n % 7) + steps as i64;
    let (from, to) = (TOWNS[n as usize % TOWNS.len()].0, TOWNS[(n as usize / 3 + 7) % TOWNS.len()].0);
    let event = |(step, code): (usize, &&'static str)| Event {
        code,
        site: if step < 2 { from } else { to },
        at_ms: today_ms - (age_days - step as i64) * DAY_MS + i64::from(n % 12) * 3_600_000,
    };
    WAY.iter().take(steps).enumerate().map(event).collect()
}

/// Midnight (UTC) of the day before the first start.
pub(crate) fn today_ms() -> i64 {
    let now = now_ms();
    now - now.rem_euclid(DAY_MS) - DAY_MS
}

/// Content of document `k` of user `n`.
pub(crate) fn document(n: u32, k: u32) -> (String, String) {
    let (given, family) = name(n);
    let (file, title) = match k {
        1 => ("releve-de-compte.txt", "Relevé de compte"),
        2 => ("bulletin-de-paie.txt", "Bulletin de paie"),
        _ => ("avis-d-echeance.txt", "Avis d'échéance"),
    };
    let text = format!("{title}\n{given} {family} ({})\nNuméro {}\n", ids::user(n), n * 10 + k);
    (file.to_owned(), text)
}

/// Given names, family names and user names of all users, in order.
pub(crate) fn people() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    (0..USERS).map(|n| (ids::user(n), name(n).0, name(n).1))
}

/// Inserts many rows by one statement that reads them from `json_each(?)`.
pub(crate) async fn insert(tx: &mut Tx, sql: &'static str, rows: &[impl Serialize]) -> anyhow::Result<()> {
    let rows = serde_json::to_string(rows)?;
    sqlx::query(sql).bind(rows).execute(&mut **tx).await.context(sql)?;
    Ok(())
}
