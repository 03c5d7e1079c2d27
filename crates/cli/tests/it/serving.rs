use std::net::TcpListener;

use crate::support::Node;

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let node = Node::new();
    for command in ["serve", "demo"] {
        let run = if command == "serve" {
            node.run(&[command, "--listen", &address])
        } else {
            crate::support::run(&[command, "--listen", &address])
        };
        let stderr = run.fails(2);
        assert!(stderr.contains(&address) && stderr.contains("in use") && stderr.contains("--listen"), "{stderr}");
    }
}

#[test]
fn a_node_is_served_by_one_at_a_time() {
    let node = Node::new();
    let mut server = node.serve();
    let stderr = node.run(&["serve", "--listen", "127.0.0.1:0"]).fails(2);
    assert!(stderr.contains("served already") && stderr.contains(&server.child.id().to_string()), "{stderr}");
    node.run(&["check"]).ok();
    node.run(&["user", "list"]).ok();
    // Whoever dies without a word leaves the node free.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    drop(node.serve());
}

#[tokio::test]
async fn asked_to_stop_it_ends_well() {
    let node = Node::with_items("id,name,amount\na,Ann,1\n");
    let mut server = node.serve();
    assert!(server.greeting.contains("Test") && server.greeting.contains("design"), "{}", server.greeting);
    let client = server.client(&node.token());
    assert_eq!(client.get("/healthz").await.0, 200);
    assert_eq!(client.set("a", "name", "Amy".into()).await["status"], "saved");
    assert_eq!(server.stop(), Some(0));
}
