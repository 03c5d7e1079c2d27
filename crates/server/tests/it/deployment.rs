//! Bundles and scenarios over HTTP.

use serde_json::json;
use stet_testkit::{ADMIN, DESIGNER, READER, Setup, TestNode};

const PROJECT: &str = "/api/v1/projects/BIRDSTRIKES";

/// A bundle of a node's sample project: its digest and its archive.
async fn bundle(node: &TestNode) -> (String, Vec<u8>) {
    let designer = node.signed_in(DESIGNER).await;
    let made =
        designer.post(&format!("{PROJECT}/bundles"), &json!({ "notes": "first" })).await.expect_status(201).json();
    let digest = made["digest"].as_str().expect("a digest").to_owned();
    let request = designer.request("GET", &format!("/api/v1/bundles/{digest}/file"));
    let archive = request.send().await.expect("an answer").bytes().await.expect("the archive");
    assert_eq!(archive.len() as u64, made["bytes"].as_u64().expect("a size"));
    (digest, archive.to_vec())
}

/// A node that takes the bundles of another one, with a project folder that is empty.
async fn production(design: &TestNode) -> TestNode {
    let key = design.app.signing_key().expect("a key").public();
    let config =
        format!("[deploy.approval]\npersons_min = 0\n[[deploy.trusted]]\nname = \"Design\"\nkey = \"{key}\"\n");
    let node = Setup::default().config(&config).start().await;
    std::fs::remove_dir_all(node.folder().join("projects/BIRDSTRIKES")).expect("no project yet");
    node
}

#[tokio::test]
async fn a_bundle_is_made_carried_over_planned_activated_and_told_of() {
    let design = TestNode::start().await;
    let (digest, archive) = bundle(&design).await;
    let node = production(&design).await;
    let admin = node.signed_in(ADMIN).await;
    let bring = |bytes: Vec<u8>| admin.request("POST", "/api/v1/bundles").body(bytes);
    let mut changed = archive.clone();
    let place = changed.len() - 2_000;
    changed[place] ^= 1;
    admin.send(bring(changed)).await.expect_status(422).problem();
    admin.send(bring(archive[..archive.len() / 2].to_vec())).await.expect_status(422).problem();
    admin.send(bring(b"nonsense".to_vec())).await.expect_status(422).problem();
    assert_eq!(admin.send(bring(archive)).await.expect_status(201).json()["digest"], digest.as_str());
    let plan = admin.get(&format!("/api/v1/bundles/{digest}/plan")).await.expect_status(200).json()["plan"].clone();
    assert_eq!(plan["blockers"], json!([]), "{plan}");
    assert_eq!(plan["webapps"].as_array().map(Vec::len), Some(2));
    let diff = admin.get(&format!("/api/v1/bundles/{digest}/diff")).await.expect_status(200).json();
    assert!(diff["objects"].as_array().expect("objects").iter().all(|object| object["change"] == "added"), "{diff}");

    let path = format!("/api/v1/bundles/{digest}/activate");
    // Who may not know of a bundle is told that there is none.
    node.signed_in(DESIGNER).await.post(&path, &json!({})).await.expect_status(404).problem();
    admin.post(&path, &json!({})).await.expect_status(200);
    admin.post(&path, &json!({})).await.expect_status(409).problem();
    // The running server serves it at once.
    admin.get(&format!("{PROJECT}/webapps/correct-strikes")).await.expect_status(200);
    let told = admin.get(&format!("{PROJECT}/deployment")).await.expect_status(200).json();
    assert_eq!((&told["deployed"]["digest"], &told["activations"][0]["by"]), (&json!(digest), &json!(ADMIN)));
    admin.post(&format!("{PROJECT}/rollback"), &json!({})).await.expect_status(422).problem();
    node.write("projects/BIRDSTRIKES/recipes/summarise_by_airport.sql", "SELECT 1 AS n");
    let told = admin.get(&format!("{PROJECT}/deployment")).await.expect_status(200).json();
    assert_eq!(told["health"], "out_of_sync");
    assert_eq!(told["drift"], json!([{ "file": "recipes/summarise_by_airport.sql", "change": "changed" }]));
    node.signed_in(READER).await.get(&format!("{PROJECT}/deployment")).await.expect_status(403).problem();
}

#[tokio::test]
async fn a_deploy_token_brings_bundles_and_opens_nothing_else() {
    let design = TestNode::start().await;
    let (digest, archive) = bundle(&design).await;
    let node = production(&design).await;
    let shell = stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"));
    let token = node
        .app
        .add_deploy_token(&shell, "design-node", None, stet_domain::DeployScopes::default())
        .await
        .expect("a token");
    let program = node.visitor().with_token(&token);
    program.send(program.request("POST", "/api/v1/bundles").body(archive.clone())).await.expect_status(201);
    program.get(&format!("/api/v1/bundles/{digest}")).await.expect_status(200);
    for path in [format!("/api/v1/bundles/{digest}/file"), "/api/v1/projects".to_owned(), "/api/v1/session".to_owned()]
    {
        program.get(&path).await.expect_status(401).problem();
    }
    program.post(&format!("/api/v1/bundles/{digest}/activate"), &json!({})).await.expect_status(403).problem();
    node.app.revoke_deploy_token(&shell, "design-node").await.expect("revoked");
    program.send(program.request("POST", "/api/v1/bundles").body(archive)).await.expect_status(401).problem();
}

#[tokio::test]
async fn edits_stop_while_what_was_deployed_is_changed_if_the_node_is_that_strict() {
    let design = TestNode::start().await;
    let (digest, archive) = bundle(&design).await;
    let key = design.app.signing_key().expect("a key").public();
    let config = format!(
        "[deploy]\non_drift = \"stop\"\n[deploy.approval]\npersons_min = 0\n[[deploy.trusted]]\nname = \"Design\"\nkey = \"{key}\"\n"
    );
    let node = Setup::default().config(&config).start().await;
    std::fs::remove_dir_all(node.folder().join("projects/BIRDSTRIKES")).expect("no project yet");
    let admin = node.signed_in(ADMIN).await;
    admin.send(admin.request("POST", "/api/v1/bundles").body(archive)).await.expect_status(201);
    admin.post(&format!("/api/v1/bundles/{digest}/activate"), &json!({})).await.expect_status(200);
    let edit = crate::one(crate::update("1", "cost_total", json!("12"), json!(null)));
    let edits = format!("{}/edits", crate::STRIKES);
    admin.post(&edits, &edit).await.expect_status(200);
    let file = "projects/BIRDSTRIKES/recipes/summarise_by_airport.sql";
    let before = std::fs::read_to_string(node.folder().join(file)).expect("the query");
    node.write(file, "SELECT 1 AS n");
    admin.get(&format!("{PROJECT}/deployment")).await.expect_status(200);
    let refused = admin.post(&edits, &edit).await.expect_status(409).problem();
    assert!(refused["detail"].as_str().expect("a reason").contains("takes no edits at present"), "{refused}");
    node.write(file, &before);
    admin.get(&format!("{PROJECT}/deployment")).await.expect_status(200);
    admin.post(&edits, &edit).await.expect_status(200);
}

#[tokio::test]
async fn a_scenario_runs_and_its_log_can_be_read() {
    let project = "name = \"Bird strikes\"\n[permissions.groups]\neveryone = [\"read_content\"]\n\
                   designers = [\"write_content\"]\n";
    let node = Setup::default().file("projects/BIRDSTRIKES/project.toml", project).start().await;
    let designer = node.signed_in(DESIGNER).await;
    let list = designer.get(&format!("{PROJECT}/scenarios")).await.expect_status(200).json();
    let names: Vec<&str> =
        list["scenarios"].as_array().expect("scenarios").iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"commit_edits_strikes") && names.contains(&"reset_edits_airport_matches"), "{names:?}");
    let path = format!("{PROJECT}/scenarios/commit_edits_strikes/runs");
    node.signed_in(READER).await.post(&path, &json!({})).await.expect_status(403).problem();
    let run = designer.post(&path, &json!({})).await.expect_status(202).json();
    let id = run["id"].as_str().expect("an id").parse().expect("an id");
    let shell = stet_domain::Actor::shell(stet_domain::Login::new("shell").expect("a login"));
    node.app.wait_for_run(&shell, "BIRDSTRIKES", id).await.expect("it ends");
    let told = designer.get(&format!("{PROJECT}/runs/{id}")).await.expect_status(200).json();
    assert_eq!((&told["state"], &told["steps_done"]), (&json!("done"), &json!(2)), "{told}");
    assert!(told["log"].as_array().is_some_and(|log| log.len() == 4), "{told}");
    let runs = designer.get(&format!("{PROJECT}/runs")).await.expect_status(200).json();
    assert_eq!(runs["runs"][0]["id"], told["id"]);

    // A reset takes the edits away, and the table goes on with a log of its own.
    let edits = format!("{}/edits", crate::STRIKES);
    let edit = crate::one(crate::update("1", "cost_total", json!("12345"), json!(null)));
    designer.post(&edits, &edit).await.expect_status(200);
    let run = designer.post(&format!("{PROJECT}/scenarios/reset_edits_strikes/runs"), &json!({})).await;
    let id = run.expect_status(202).json()["id"].as_str().expect("an id").parse().expect("an id");
    let (run, _) = node.app.wait_for_run(&shell, "BIRDSTRIKES", id).await.expect("it ends");
    assert_eq!(run.error, None);
    let saved = designer.post(&edits, &edit).await.expect_status(200).json();
    assert_eq!(saved["version"], 1, "{saved}");
}

/// Makes a bundle, carries it over and activates it; gives its digest.
async fn deployed(design: &TestNode, node: &TestNode, notes: &str) -> String {
    let digest = carried(design, node, notes).await;
    let admin = node.signed_in(ADMIN).await;
    admin.post(&format!("/api/v1/bundles/{digest}/activate"), &json!({})).await.expect_status(200);
    digest
}

async fn carried(design: &TestNode, node: &TestNode, notes: &str) -> String {
    let designer = design.signed_in(ADMIN).await;
    let made = designer.post(&format!("{PROJECT}/bundles"), &json!({ "notes": notes })).await.expect_status(201).json();
    let digest = made["digest"].as_str().expect("a digest").to_owned();
    let request = designer.request("GET", &format!("/api/v1/bundles/{digest}/file"));
    let archive = request.send().await.expect("an answer").bytes().await.expect("the archive");
    let admin = node.signed_in(ADMIN).await;
    admin.send(admin.request("POST", "/api/v1/bundles").body(archive)).await.expect_status(201);
    digest
}

const WEBAPP: &str =
    "original = \"strikes\"\n[[editable]]\ncolumn = \"species\"\n[[editable]]\ncolumn = \"cost_total\"\n";

#[tokio::test]
async fn the_plan_holds_logged_edits_against_the_new_settings_and_the_new_original() {
    let file = "projects/BIRDSTRIKES/webapps/correct-strikes.toml";
    let note = |column_type: &str| format!("[[editable]]\ncolumn = \"note\"\ntype = \"{column_type}\"\n");
    let project = "name = \"Bird strikes\"\n[permissions.users]\ndora = [\"deploy\"]\n";
    let design = Setup::default()
        .file("projects/BIRDSTRIKES/project.toml", project)
        .file(file, &format!("{WEBAPP}{}", note("text")))
        .start()
        .await;
    let node = production(&design).await;
    deployed(&design, &node, "first").await;
    let admin = node.signed_in(ADMIN).await;
    for (key, column, value) in [
        ("1", "species", "Gull"),
        ("2", "note", "many"),
        ("3", "note", "12"),
        ("4", "cost_total", "7"),
        ("5", "cost_total", "8"),
    ] {
        let edit = crate::one(crate::update(key, column, json!(value), json!(null)));
        admin.post(&format!("{}/edits", crate::STRIKES), &edit).await.expect_status(200);
    }
    // Next, `species` is not edited, `note` is a number, and the original is a file without row 4.
    let strikes = std::fs::read_to_string(node.folder().join("data/BIRDSTRIKES/strikes.csv")).expect("the data");
    let rows: Vec<&str> = strikes.lines().filter(|line| !line.starts_with("4,")).collect();
    node.write("data/BIRDSTRIKES/newer.csv", &rows.join("\n"));
    design.write(file, &format!("{}{}", WEBAPP.replace("[[editable]]\ncolumn = \"species\"\n", ""), note("integer")));
    let dataset = "projects/BIRDSTRIKES/datasets/strikes.toml";
    let text = std::fs::read_to_string(design.folder().join(dataset)).expect("the dataset");
    design.write(dataset, &text.replace("strikes.csv", "newer.csv"));
    let digest = carried(&design, &node, "second").await;

    let plan = admin.get(&format!("/api/v1/bundles/{digest}/plan")).await.expect_status(200).json()["plan"].clone();
    let effect = plan["edits"].as_array().expect("edits").iter().find(|effect| effect["original"] == "strikes");
    let effect = effect.expect("the edits of strikes");
    assert_eq!(
        (&effect["events"], &effect["not_editable"], &effect["misfits"], &effect["orphans"]),
        (&json!(5), &json!(1), &json!(1), &json!(1)),
        "{effect}"
    );
    let page = async |after: &str| {
        let path = format!("/api/v1/bundles/{digest}/plan/edits?original=strikes&limit=2{after}");
        admin.get(&path).await.expect_status(200).json()
    };
    let first = page("").await;
    let told = |page: &serde_json::Value| -> Vec<String> {
        let rows = page["rows"].as_array().expect("rows").iter();
        rows.map(|row| format!("{} {} {}", row["key"], row["value"], row["fate"]).replace('"', "")).collect()
    };
    assert_eq!(told(&first), ["1 Gull not_editable", "2 many misfit"]);
    let second = page(&format!("&after={}", first["next"])).await;
    assert_eq!((told(&second), &second["next"]), (vec!["4 7 orphan".to_owned()], &json!(null)));

    // Who deploys and may not see the table is told how many, and not which.
    let deployer = node.signed_in(DESIGNER).await;
    let plan = deployer.get(&format!("/api/v1/bundles/{digest}/plan?rows=true")).await.expect_status(200).text;
    assert!(plan.contains("not_editable") && !plan.contains("Gull"), "{plan}");
    let path = format!("/api/v1/bundles/{digest}/plan/edits?original=strikes");
    deployer.get(&path).await.expect_status(403).problem();
    admin.get(&path.replace("=strikes", "=nothing")).await.expect_status(404).problem();

    // Another primary key: a key that reads the same is another row, and the plan says so.
    design.write(
        file,
        "original = \"strikes\"\nprimary_keys = [\"speed_knots\"]\n[[editable]]\ncolumn = \"cost_total\"\n",
    );
    design.write(dataset, "path = \"keyed.csv\"\nkey = [\"speed_knots\"]\n");
    node.write("data/BIRDSTRIKES/keyed.csv", "speed_knots,cost_total\n4,1\n99,2\n");
    let digest = carried(&design, &node, "third").await;
    let plan = admin.get(&format!("/api/v1/bundles/{digest}/plan")).await.expect_status(200).json()["plan"].clone();
    let effect = plan["edits"].as_array().expect("edits").iter().find(|effect| effect["original"] == "strikes");
    let effect = effect.expect("the edits of strikes");
    assert_eq!((&effect["orphans"], &effect["rekeyed"]), (&json!(4), &json!(1)), "{effect}");
}

#[tokio::test]
async fn a_table_that_starts_by_itself_is_open_after_the_activation_and_one_that_was_open_goes_on() {
    let file = "projects/BIRDSTRIKES/webapps/correct-strikes.toml";
    let design = Setup::default().file(file, &format!("auto_start = true\n{WEBAPP}")).start().await;
    let node = production(&design).await;
    let digest = carried(&design, &node, "first").await;
    let admin = node.signed_in(ADMIN).await;
    let plan = admin.get(&format!("/api/v1/bundles/{digest}/plan")).await.expect_status(200).json()["plan"].clone();
    let start = json!({ "name": "correct-strikes", "effect": "start", "opens": true });
    assert!(plan["webapps"].as_array().expect("webapps").contains(&start), "{plan}");
    admin.post(&format!("/api/v1/bundles/{digest}/activate"), &json!({})).await.expect_status(200);
    let open = async || {
        let status = admin.get("/api/v1/status").await.expect_status(200).json();
        status["webapps"]
            .as_array()
            .expect("tables")
            .iter()
            .map(|table| table["webapp"].to_string())
            .collect::<Vec<_>>()
    };
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while open().await.is_empty() {
        assert!(std::time::Instant::now() < limit, "the table opens by itself");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(open().await, ["\"correct-strikes\""]);
}
