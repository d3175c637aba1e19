//! The keys that sign tokens: P-256, one in use, changed from time to time; those before it stay published for as long as
//! something that they signed may be shown.

use crate::bounds::{SIGNING_KEY_LIFE_MS, SIGNING_KEY_SHOWN_MS, SIGNING_KEYS_MAX};
use crate::problem::Problem;
use crate::store::{Store, now_ms};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) const SCHEMA: &str = "
CREATE TABLE signing_key (kid TEXT PRIMARY KEY, pkcs8 BLOB NOT NULL, x TEXT NOT NULL, y TEXT NOT NULL, made_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

type Row = (String, Vec<u8>, String, String, i64);

async fn rows(store: &Store) -> Result<Vec<Row>, Problem> {
    let rows = sqlx::query_as("SELECT kid, pkcs8, x, y, made_ms FROM signing_key ORDER BY made_ms DESC, kid LIMIT $1")
        .bind(SIGNING_KEYS_MAX)
        .fetch_all(&store.reader)
        .await?;
    Ok(rows)
}

/// Makes a new key where there is none or the one in use is too old. Not to be called within a transaction: it may begin one.
pub(super) async fn renew(store: &Store) -> Result<(), Problem> {
    if rows(store).await?.first().is_some_and(|row| row.4 > now_ms() - SIGNING_KEY_LIFE_MS) {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    // Somebody else may have made it meanwhile.
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(made_ms) FROM signing_key").fetch_one(&mut *tx).await?;
    if newest.is_none_or(|made| made <= now_ms() - SIGNING_KEY_LIFE_MS) {
        let (kid, pkcs8, x, y) = make()?;
        sqlx::query("INSERT INTO signing_key (kid, pkcs8, x, y, made_ms) VALUES ($1, $2, $3, $4, $5)")
            .bind(kid)
            .bind(pkcs8)
            .bind(x)
            .bind(y)
            .bind(now_ms())
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM signing_key WHERE made_ms <= $1")
            .bind(now_ms() - SIGNING_KEY_LIFE_MS - SIGNING_KEY_SHOWN_MS)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

fn make() -> Result<(String, Vec<u8>, String, String), Problem> {
    let failed = |_| Problem::internal(&"no key could be made");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
    let pkcs8 = pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec();
    // A point that is not compressed: 4, then both coordinates.
    let point = pair.public_key().as_ref();
    let [4, rest @ ..] = point else { return Err(Problem::internal(&"a key of another form")) };
    let (x, y) = rest.split_at(rest.len() / 2);
    let kid = hex::encode(&crate::once::hash(point)[..8]);
    Ok((kid, pkcs8, URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y)))
}

/// Signs claims with the newest key; `typ` tells what they are.
pub(super) async fn sign(store: &Store, typ: &str, claims: &impl Serialize) -> Result<String, Problem> {
    let newest = rows(store).await?.into_iter().next();
    let (kid, pkcs8, ..) = newest.ok_or_else(|| Problem::internal(&"there is no key to sign with"))?;
    let header = Header { typ: Some(typ.to_owned()), kid: Some(kid), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&pkcs8)).map_err(|error| Problem::internal(&error))
}

/// The claims of a token that one of our keys signed for this audience and that is not out of date; else nothing.
pub(super) async fn read<T: DeserializeOwned>(
    store: &Store,
    typ: &str,
    token: &str,
    out_of_date_too: bool,
) -> Result<Option<T>, Problem> {
    let Ok(header) = jsonwebtoken::decode_header(token.as_bytes()) else { return Ok(None) };
    if header.typ.as_deref() != Some(typ) {
        return Ok(None);
    }
    let Some(row) = rows(store).await?.into_iter().find(|row| Some(&row.0) == header.kid.as_ref()) else {
        return Ok(None);
    };
    let key = DecodingKey::from_ec_components(&row.2, &row.3).map_err(|error| Problem::internal(&error))?;
    let mut validation = Validation::new(Algorithm::ES256);
    // For whom it is is the caller's to judge.
    validation.validate_aud = false;
    validation.validate_exp = !out_of_date_too;
    validation.leeway = 0;
    Ok(jsonwebtoken::decode(token.as_bytes(), &key, &validation).ok().map(|token| token.claims))
}

/// The public keys, as JWKS.
pub(super) async fn published(store: &Store) -> Result<Value, Problem> {
    renew(store).await?;
    let key = |(kid, _, x, y, _): Row| json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": x, "y": y});
    Ok(json!({"keys": rows(store).await?.into_iter().map(key).collect::<Vec<_>>()}))
}
