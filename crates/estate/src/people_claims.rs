//! What the identity service tells of a person, by scope, in the words of FranceConnect: names as registered, the place of
//! birth as a code of the statistical office.

use crate::ids;
use crate::seed;
use serde_json::{Value, json};

/// The claims of a user of the test data.
pub(crate) fn of(user: &str, scope: &str) -> Value {
    let mut claims = json!({"sub": user});
    let Some(n) = ids::user_number(user) else { return claims };
    let has = |wanted: &str| scope.split(' ').any(|scope| scope == wanted);
    let (given, family) = seed::name(n);
    if has("profile") {
        claims["given_name"] = json!(given);
        claims["family_name"] = json!(family.to_uppercase());
        claims["preferred_username"] = json!(user);
        claims["birthdate"] = json!(format!("{}-{:02}-{:02}", 1940 + n % 65, n % 12 + 1, n % 28 + 1));
        // Given names of the test data take turns.
        claims["gender"] = json!(if n.is_multiple_of(2) { "female" } else { "male" });
        claims["birthplace"] = json!(format!("{:05}", 75_101 + n % 20));
        claims["birthcountry"] = json!("99100");
    }
    if has("email") {
        claims["email"] = json!(format!("{user}@example.invalid"));
    }
    claims
}
