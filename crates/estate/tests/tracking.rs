//! Tracking as an existing client understands it (karrio's connector for La Poste).

mod support;

use std::path::Path;
use std::process::Command;

use guichet_estate::ids;
use serde_json::{Value, json};
use support::{Estate, exchange, packages};

fn understood(estate: &Estate, items: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tracking_client.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(packages("python", "karrio")).arg(format!("http://{}", estate.at("parcels")));
    let run = command.args(items).output().unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    let line = told.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{told} {}", String::from_utf8_lossy(&run.stderr)))
}

#[test]
fn an_existing_client_reads_one_item_and_several_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let estate = Estate::start(&["parcels", "--listen", "127.0.0.1:0"], dir.path());
    // Parcel 4 has all five steps and is delivered; parcel 2 has three.
    let (delivered, moving) = (ids::parcel(4), ids::parcel(2));
    let one = understood(&estate, &[&delivered]);
    assert_eq!(one["errors"], json!([]), "{one}");
    let item = &one["found"][0];
    assert_eq!(
        (&item["id"], &item["delivered"], &item["status"]),
        (&json!(delivered), &json!(true), &json!("delivered"))
    );
    assert_eq!(item["codes"], json!(["DI1", "MD2", "ET1", "PC1", "DR1"]), "newest first");
    assert!(item["dates"].as_array().unwrap().iter().all(Value::is_string), "{item}");
    let several = understood(&estate, &[&delivered, &moving]);
    assert_eq!(several["found"].as_array().unwrap().len(), 2, "{several}");
    assert_eq!((&several["found"][1]["delivered"], &several["found"][1]["country"]), (&json!(false), &json!("FR")));
    let unknown = ids::parcel(2000);
    let nothing = understood(&estate, &[&unknown]);
    assert_eq!((&nothing["found"], &nothing["errors"][0]["code"]), (&json!([]), &json!("404")), "{nothing}");

    let get = |list: &str, lang: &str, key: &str| {
        let head = format!("GET /suivi/v2/idships/{list}?lang={lang} HTTP/1.1\r\nhost: x\r\n{key}");
        let (status, _, body) = exchange(estate.at("parcels"), &head, "");
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let key = "x-okapi-key: test-key-of-an-application\r\n";
    let (status, body) = get(&delivered, "fr_FR", "");
    assert_eq!((status, &body["code"]), (401, &json!("UNAUTHORIZED")));
    assert_eq!(get("CG100000004FR", "fr_FR", key).1["returnCode"], 400);
    assert_eq!(get(&delivered, "xx_XX", key).0, 400);
    let (status, body) = get(&format!("{delivered},nothing,{unknown}"), "en_US", key);
    let codes: Vec<_> = body.as_array().unwrap().iter().map(|one| one["returnCode"].as_u64().unwrap()).collect();
    assert_eq!((status, codes), (207, vec![200, 400, 404]));
    assert_eq!(get(&[delivered.as_str(); 11].join(","), "fr_FR", key).0, 400);
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
