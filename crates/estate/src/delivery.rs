//! Delivery codes: what a recipient tells the carrier at the door. They are drawn from the estate's key, so that whoever shows them
//! (the portal) and whoever checks them (the carrier's device) asks nobody at that moment.
//!
//! A device has a list, made before the round and signed. It holds no codes, only slow hashes (Argon2id) of them: whoever
//! finds it must compute for each guess.

use crate::bounds::{DELIVERY_LIST_BYTES_MAX, DELIVERY_LIST_MAX};
use crate::estate_key::EstateKey;
use crate::ids;
use crate::store::{now_ms, rfc3339};
use anyhow::{Context as _, bail, ensure};
use argon2::{Algorithm, Argon2, Params, Version};
use clap::{Args, Subcommand};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `delivery`.
#[derive(Args, Debug)]
pub struct Delivery {
    /// What to do.
    #[command(subcommand)]
    pub deed: Deed,
}

/// What can be done with delivery codes.
#[derive(Debug, Subcommand)]
pub enum Deed {
    /// Make the list of a round, for a carrier's device.
    List {
        /// Data folder of the estate, where its key is.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// File to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// S10 identifiers of the parcels.
        #[arg(value_name = "ID", required = true)]
        parcels: Vec<String>,
    },
    /// Check a code at the door, offline; exit status 1 where it is wrong.
    Check {
        /// The list of the round.
        #[arg(long, value_name = "FILE")]
        list: PathBuf,
        /// Key that signs lists, as `list` prints it.
        #[arg(long, value_name = "HEX")]
        key: String,
        /// S10 identifier of the parcel.
        #[arg(long, value_name = "ID")]
        parcel: String,
        /// The code that the recipient tells.
        #[arg(long, value_name = "DIGITS")]
        code: String,
    },
}

/// The delivery code of a parcel: six digits.
pub(crate) fn code(key: &EstateKey, parcel: &str) -> String {
    let drawn = key.derive(&format!("delivery code {parcel}"));
    // 48 bits for six digits: none is noticeably likelier than another.
    let number = u64::from_str_radix(&drawn[..12], 16).unwrap_or(0);
    format!("{:06}", number % 1_000_000)
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Row {
    parcel: String,
    check: String,
}

/// A list as it is signed.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct List {
    made_at: String,
    salt: String,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    list: List,
    signature: String,
}

fn signing_key(key: &EstateKey) -> anyhow::Result<SigningKey> {
    let seed = hex::decode(key.derive("signing of delivery lists"))?;
    let seed: [u8; 32] = seed.try_into().map_err(|_| anyhow::anyhow!("a seed of another length"))?;
    Ok(SigningKey::from_bytes(&seed))
}

fn check_of(salt: &str, parcel: &str, code: &str) -> anyhow::Result<String> {
    // As OWASP asks for: 19 MiB, two passes.
    let params = Params::new(19 * 1024, 2, 1, Some(32)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut out = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(code.as_bytes(), format!("{salt} {parcel}").as_bytes(), &mut out)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(hex::encode(out))
}

pub(crate) fn run(options: &Delivery) -> anyhow::Result<ExitCode> {
    match &options.deed {
        Deed::List { data, out, parcels } => {
            ensure!(data.join("estate.key").exists(), "{}: there is no estate.key in it", data.display());
            let key = EstateKey::load_or_make(data)?;
            let signed = make(&key, parcels)?;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(out)
                .with_context(|| format!("{}: can't write", out.display()))?;
            writeln!(file, "{}", serde_json::to_string_pretty(&signed)?)?;
            file.sync_all()?;
            let public = hex::encode(signing_key(&key)?.verifying_key().as_bytes());
            let mut told = std::io::stdout().lock();
            writeln!(told, "{} parcels; lists are signed by {public}", signed.list.rows.len())?;
            Ok(ExitCode::SUCCESS)
        }
        Deed::Check { list, key, parcel, code } => {
            let place = list.display();
            let mut text = String::new();
            let file = std::fs::File::open(list).with_context(|| format!("{place}: can't read"))?;
            file.take(DELIVERY_LIST_BYTES_MAX)
                .read_to_string(&mut text)
                .with_context(|| format!("{place}: can't read"))?;
            let right = check(&text, key, parcel, code).with_context(|| place.to_string())?;
            let mut told = std::io::stdout().lock();
            writeln!(told, "{}", if right { "right: hand it over" } else { "wrong code: keep it" })?;
            Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn make(key: &EstateKey, parcels: &[String]) -> anyhow::Result<Signed> {
    ensure!(parcels.len() <= DELIVERY_LIST_MAX, "a list takes {DELIVERY_LIST_MAX} parcels at most");
    let salt = uuid::Uuid::new_v4().simple().to_string();
    let row = |text: &String| {
        let Ok(parcel) = ids::s10(text) else { bail!("{text:?} is no S10 identifier, or a digit was mistyped") };
        let check = check_of(&salt, &parcel, &code(key, &parcel))?;
        Ok(Row { parcel, check })
    };
    let rows = parcels.iter().map(row).collect::<anyhow::Result<Vec<Row>>>()?;
    let list = List { made_at: rfc3339(now_ms()), salt, rows };
    let signature = signing_key(key)?.sign(serde_json::to_string(&list)?.as_bytes());
    Ok(Signed { list, signature: hex::encode(signature.to_bytes()) })
}

fn check(text: &str, key: &str, parcel: &str, code: &str) -> anyhow::Result<bool> {
    let key: Option<[u8; 32]> = hex::decode(key).ok().and_then(|bytes| bytes.try_into().ok());
    let key =
        key.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).context("--key takes 64 hexadecimal digits")?;
    let signed: Signed = serde_json::from_str(text).context("this is no list of a round")?;
    let signature = hex::decode(&signed.signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let whole = serde_json::to_string(&signed.list)?;
    let right = signature.is_some_and(|signature| key.verify_strict(whole.as_bytes(), &signature).is_ok());
    ensure!(right, "the list was changed, or is not signed by this key: do not use it");
    let Ok(parcel) = ids::s10(parcel) else { bail!("{parcel:?} is no S10 identifier, or a digit was mistyped") };
    let row = signed.list.rows.iter().find(|row| row.parcel == parcel).context("this parcel is not of this round")?;
    Ok(row.check == check_of(&signed.list.salt, &parcel, code.trim())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_right_for_its_parcel_on_an_unchanged_list() {
        let dir = tempfile::tempdir().unwrap();
        let key = EstateKey::load_or_make(dir.path()).unwrap();
        let (mine, other, third) = (ids::parcel(1), ids::parcel(2), ids::parcel(3));
        let signed = make(&key, &[mine.clone(), other.clone()]).unwrap();
        let public = hex::encode(signing_key(&key).unwrap().verifying_key().as_bytes());
        let text = serde_json::to_string(&signed).unwrap();
        let told = code(&key, &mine);
        assert!(told.len() == 6 && !text.contains(&format!("\"{told}\"")));
        let right = |text: &str, parcel: &str, code: &str| check(text, &public, parcel, code);
        assert!(right(&text, &mine, &format!(" {told} ")).unwrap());
        assert!(!right(&text, &mine, "x").unwrap());
        assert!(!right(&text, &other, &told).unwrap() || code(&key, &other) == told);
        for (text, parcel, words) in [
            (text.clone(), third.as_str(), "not of this round"),
            (text.clone(), "CG100000004FR", "mistyped"),
            (text.replace(&mine, &third), third.as_str(), "was changed"),
            ("{}".to_owned(), mine.as_str(), "no list"),
        ] {
            assert!(right(&text, parcel, &told).unwrap_err().to_string().contains(words), "{words}");
        }
        assert!(check(&text, &"0".repeat(63), &mine, &told).is_err());
        assert!(make(&key, &["nothing".to_owned()]).is_err());
        assert!(make(&key, &vec![mine; DELIVERY_LIST_MAX + 1]).is_err());
    }
}
