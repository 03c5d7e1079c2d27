//! Input that makes no sense is told so, in plain words, and never fails the server.

use serde_json::json;
use stet_testkit::{ADMIN, READER, TestNode};

use crate::{STRIKES, routes};

#[tokio::test]
async fn every_bad_request_is_answered_with_a_problem_of_its_own() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let rows = format!("{STRIKES}/rows/query");
    let edits = format!("{STRIKES}/edits");
    let update = "/webapps/BIRDSTRIKES/correct-strikes/update";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        (rows.as_str(), "", 400),
        (&rows, "{", 400),
        (&rows, "\u{feff}{}", 400),
        (&rows, &deep, 422),
        (&rows, "null", 422),
        (&rows, "[]", 422),
        (&rows, "[0, 100]", 422),
        (&rows, "[0, 100", 400),
        (&rows, "{\"limit\": -1}", 422),
        (&rows, "{\"limit\": 1e3}", 422),
        (&rows, "{\"limit\": 1001}", 422),
        (&rows, "{\"offset\": 99999999999999999999}", 422),
        (&rows, "{\"nothing\": 1}", 422),
        (&rows, "{\"sort\": [{\"column\": \"no such\"}]}", 422),
        (&rows, "{\"sort\": [{\"column\": \"species; DROP TABLE x\"}]}", 422),
        (&rows, "{\"filters\": [{\"column\": \"species\", \"op\": \"like\", \"value\": \"x\"}]}", 422),
        (&rows, "{\"filters\": [{\"column\": \"species\", \"op\": \"contains\"}]}", 422),
        (&rows, "{\"filters\": [{\"column\": \"speed_knots\", \"op\": \"between\"}]}", 422),
        (&rows, "{\"filters\": [{\"column\": \"speed_knots\", \"op\": \"between\", \"from\": \"fast\"}]}", 422),
        (&rows, "{\"states\": [\"odd\"]}", 422),
        (&rows, "{\"count\": \"never\"}", 422),
        (&edits, "{}", 422),
        (&edits, "{\"edits\": [{\"action\": \"truncate\"}]}", 422),
        (&edits, "{\"edits\": [{\"action\": \"update\", \"key\": \"1\", \"column\": \"species\"}]}", 422),
        (&edits, "{\"edits\": [{\"action\": \"update\", \"key\": 1, \"column\": \"species\", \"value\": \"x\"}]}", 422),
        (
            &edits,
            "{\"edits\": [{\"action\": \"update\", \"key\": \"1\", \"column\": \"speed_knots\", \"value\": 5}]}",
            422,
        ),
        (&edits, "{\"edits\": [{\"action\": \"delete\", \"key\": \"1\", \"value\": \"x\"}]}", 422),
        (&edits, "{\"edits\": [{\"action\": \"create\", \"key\": \"1\"}]}", 422),
        (&edits, "{\"edits\": [], \"source\": \"stolen\"}", 422),
        (&edits, "{\"edits\": [], \"batch_id\": \"1\"}", 422),
        (&edits, "{\"edits\": [], \"user\": \"ada\"}", 422),
        (update, "{\"primaryKeys\": 1, \"column\": \"species\"}", 422),
        (update, "{\"primaryKeys\": null, \"column\": \"species\", \"value\": 1}", 422),
        // Of two values for one column nobody knows which was meant.
        (
            update,
            "{\"primaryKeys\": {\"strike_id\": 1, \"strike_id\": 2}, \"column\": \"species\", \"value\": \"x\"}",
            422,
        ),
        (update, "{\"primaryKeys\": [[1]], \"column\": \"species\", \"value\": 1}", 422),
        (update, "{\"primaryKeys\": 1, \"column\": \"species\", \"value\": {}}", 422),
        (update, "{\"primaryKeys\": 1, \"column\": \"species\", \"value\": \"\\ud800\"}", 400),
        ("/api/v1/projects/BIRDSTRIKES/builds", "{\"dataset\": 1, \"mode\": \"only\"}", 422),
        ("/api/v1/session", "{\"login\": \"x\"}", 422),
    ];
    for (path, body, status) in bodies {
        let shown: String = body.chars().take(100).collect();
        let request = client.request("POST", path).header("content-type", "application/json").body(body.to_owned());
        let answer = client.send(request).await;
        assert_eq!(answer.status, status, "{path} {shown}: {}", answer.text);
        answer.problem();
    }
    for (path, status) in [
        (format!("{STRIKES}/history"), 400),
        (format!("{STRIKES}/history?key=1&colum=x"), 400),
        (format!("{STRIKES}/history?key=1&column=nothing"), 404),
        (format!("{STRIKES}/history?key=%ff"), 400),
        (format!("{STRIKES}/links/diverted_to?limit=many"), 400),
        ("/api/v1/projects/BIRDSTRIKES/datasets/strikes/rows?limit=1001".to_owned(), 422),
        ("/api/v1/projects/BIRDSTRIKES/datasets/strikes/rows?offset=-1".to_owned(), 400),
        ("/api/v1/projects/BIRDSTRIKES/datasets/..%2f..%2fstet.toml".to_owned(), 404),
        ("/api/v1/nothing".to_owned(), 404),
        ("/webapps/nothing".to_owned(), 404),
        ("/assets/nothing.js".to_owned(), 404),
    ] {
        let answer = client.get(&path).await;
        // A broken escape may be read as a text with a replacement character, which is the key of no row.
        let tolerated = path.ends_with("%ff") && answer.status == 200;
        assert!(answer.status == status || tolerated, "{path}: {} {}", answer.status, answer.text);
        if !tolerated {
            answer.problem();
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_or_too_large_is_refused() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let query =
        client.request("POST", &format!("{STRIKES}/rows/query")).header("content-type", "text/plain").body("{}");
    client.send(query).await.expect_status(415).problem();

    let large = json!({ "sort": [{ "column": "x".repeat(1024 * 1024) }] });
    client.post(&format!("{STRIKES}/rows/query"), &large).await.expect_status(413).problem();
    let edits: Vec<_> = (0..10_001)
        .map(|_| json!({ "action": "update", "key": "1", "column": "comments", "value": "x", "seen": null }))
        .collect();
    let answer = client.post(&format!("{STRIKES}/edits"), &json!({ "edits": edits })).await.expect_status(422);
    assert!(answer.problem()["detail"].as_str().is_some_and(|detail| detail.contains("10001")), "{}", answer.text);
}

#[tokio::test]
async fn a_method_that_a_route_does_not_know_is_told() {
    let node = TestNode::start().await;
    let client = node.signed_in(READER).await;
    let routes = routes(&client).await;
    for (_, path) in &routes {
        let filled = path.replace(['{', '}'], "");
        let known = |method: &str| routes.iter().any(|(other, at)| at == path && other == method);
        for method in ["PUT", "PATCH"].into_iter().filter(|method| !known(method)) {
            let answer = client.send(client.request(method, &filled)).await.expect_status(405);
            answer.problem();
            assert!(answer.header("allow").is_some(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_broken_project_is_told_with_its_file_and_spoils_no_other() {
    let node = stet_testkit::Setup::default().file("projects/BROKEN/project.toml", "nam = \"x\"\n").start().await;
    // Nobody can say who may know of it, so only the administrator does.
    let reader = node.signed_in(READER).await;
    assert!(!reader.get("/api/v1/projects").await.expect_status(200).text.contains("BROKEN"));
    reader.get("/api/v1/projects/BROKEN/flow").await.expect_status(404);
    let client = node.signed_in(ADMIN).await;
    let projects = client.get("/api/v1/projects").await.expect_status(200).json();
    let broken = projects["projects"].as_array().and_then(|all| all.iter().find(|project| project["key"] == "BROKEN"));
    assert!(broken.is_some_and(|project| project["problems"].to_string().contains("project.toml:1")), "{projects}");
    let problem = client.get("/api/v1/projects/BROKEN/flow").await.expect_status(409).problem();
    assert!(problem["problems"].is_array(), "{problem}");
    client.get(STRIKES).await.expect_status(200);
}

#[tokio::test]
async fn an_original_with_duplicate_keys_is_told_without_the_place_of_the_node() {
    let node = TestNode::start().await;
    let strikes = std::fs::read_to_string(node.folder().join("data/BIRDSTRIKES/strikes.csv")).expect("strikes");
    let second = strikes.lines().nth(1).expect("a row");
    node.write("data/BIRDSTRIKES/strikes.csv", &format!("{strikes}{second}\n"));
    let client = node.signed_in(READER).await;
    let answer = client.get(STRIKES).await.expect_status(409);
    answer.problem();
    let folder = node.folder().display().to_string();
    assert!(answer.text.contains("10001") && !answer.text.contains(&folder), "{}", answer.text);
}

#[tokio::test]
async fn settings_that_nothing_could_meet_are_told_and_close_their_table_alone() {
    let column = "original = \"numbers\"\n[[editable]]\ncolumn = \"size\"\n";
    for (settings, told) in [
        (format!("{column}min = 9\nmax = 1\n"), "no value is between them"),
        (format!("{column}min = \"small\"\n"), "not a whole number"),
        (format!("{column}min_length = 3\nmax_length = 2\n"), "no text is between them"),
        (format!("{column}allowed = []\n"), "nothing could be typed"),
        (format!("validation_column = \"size\"\n{column}"), "has to be a boolean"),
        (format!("{column}[rows]\nsee = \"owner = current_user\"\n"), "names the column `owner`"),
        (format!("primary_keys = [\"id\", \"id\"]\n{column}"), "twice"),
    ] {
        let node = stet_testkit::Setup::default()
            .file("projects/N/project.toml", "name = \"N\"\n")
            .file("projects/N/datasets/numbers.toml", "path = \"numbers.csv\"\nkey = [\"id\"]\n")
            .file("projects/N/webapps/numbers.toml", &settings)
            .file("data/N/numbers.csv", "id,size\n1,5\n")
            .start()
            .await;
        let client = node.signed_in(stet_testkit::ADMIN).await;
        let problem = client.get("/api/v1/projects/N/webapps/numbers").await.expect_status(422).problem();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{settings}: {problem}");
    }
}

#[tokio::test]
async fn a_client_that_sends_its_request_too_slowly_is_cut_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let node = TestNode::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let limits = stet_server::Limits {
        head_timeout: std::time::Duration::from_millis(300),
        connections_max: 2,
        ..stet_server::Limits::default()
    };
    let serving = tokio::spawn(stet_server::serve_with(node.app.clone(), listener, limits, std::future::pending()));
    // As many as there are places; each goes on sending, and never comes to an end.
    let slow = (0..2).map(|_| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("written");
        let mut rest = Vec::new();
        // The end, whether it is told or the line is cut.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    });
    let slow: Vec<_> = slow.map(|client| tokio::spawn(client)).collect();
    for client in slow {
        tokio::time::timeout(std::time::Duration::from_secs(30), client)
            .await
            .expect("cut off in time")
            .expect("no panic");
    }
    // The places are free for others.
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serving.abort();
}
