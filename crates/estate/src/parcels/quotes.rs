//! Prices: by weight, size and zone, for each way of sending that takes such a parcel.

use crate::kit::Json;
use crate::problem::Problem;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    from_postcode: String,
    to_country: String,
    weight_g: u32,
    length_mm: u32,
    width_mm: u32,
    height_mm: u32,
}

/// Zone of a country: 1 at home, 2 near, 3 further.
fn zone(country: &str) -> Option<u32> {
    match country {
        "FR" => Some(1),
        "BE" | "DE" | "LU" => Some(2),
        "CH" | "ES" | "GB" | "IT" => Some(3),
        _ => None,
    }
}

/// Cents at home for a weight: bands as on a price list, then so much for each further kilogram.
fn base_cents(weight_g: u32) -> u32 {
    const BANDS: [(u32, u32); 6] = [(250, 525), (500, 735), (750, 865), (1000, 940), (2000, 1070), (5000, 1660)];
    let beyond = || 1660 + (weight_g - 5000).div_ceil(1000) * 160;
    BANDS.iter().find(|band| weight_g <= band.0).map_or_else(beyond, |band| band.1)
}

/// `POST /quotes`
pub(super) async fn quote(body: Json<Ask>) -> Result<Response, Problem> {
    let ask = &body.value;
    if ask.from_postcode.len() != 5 || !ask.from_postcode.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::invalid("from_postcode takes 5 digits"));
    }
    let zone =
        zone(&ask.to_country).ok_or_else(|| Problem::invalid("to_country takes FR, BE, CH, DE, ES, GB, IT or LU"))?;
    if !(1..=30_000).contains(&ask.weight_g) {
        return Err(Problem::invalid("weight_g takes 1 to 30000"));
    }
    let sides = [ask.length_mm, ask.width_mm, ask.height_mm];
    if sides.iter().any(|side| !(10..=1500).contains(side)) {
        return Err(Problem::invalid("length_mm, width_mm and height_mm take 10 to 1500 each"));
    }
    let sum: u32 = sides.iter().sum();
    if sum > 2000 {
        return Err(Problem::invalid("length, width and height together take 2000 mm at most"));
    }
    // A big light parcel costs as a heavier one: 5,000 cm3 count as a kilogram.
    let volume_g = u64::from(sides[0]) * u64::from(sides[1]) * u64::from(sides[2]) / 5000;
    let charged_g = ask.weight_g.max(u32::try_from(volume_g).unwrap_or(u32::MAX).min(30_000));
    let home = base_cents(charged_g) * zone;
    let mut offers = vec![json!({"product": "standard", "price_cents": home, "days": zone + 1, "tracked": true})];
    offers.push(json!({"product": "signature", "price_cents": home + 150, "days": zone + 1, "tracked": true}));
    if sum <= 900 && ask.weight_g <= 3000 {
        offers.insert(0, json!({"product": "small", "price_cents": home * 4 / 5, "days": zone + 2, "tracked": false}));
    }
    let answer = json!({"currency": "EUR", "charged_weight_g": charged_g, "zone": zone, "offers": offers});
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response())
}
