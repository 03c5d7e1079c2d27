//! Proxies before the server: a request is from whom they say, if they are believed.
//!
//! The chain of addresses is read from its end, which the nearest proxy wrote: as long as an address is a proxy that is
//! believed, the one before it counts. What is further to the front anybody can have made up.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use stet_app::{ForwardedHeader, ServerConfig};

use crate::error::Problem;
use crate::state::Server;

/// The most addresses of a chain that are looked at.
const HOPS_MAX: usize = 20;

/// What a proxy that is believed says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Forwarded {
    client: IpAddr,
    /// Whether the client came by https; none if that is not told.
    https: Option<bool>,
}

/// Puts the client's address into the place of the proxy's, for all that looks at it. The answer, if the request is not to be
/// carried out.
pub(crate) fn resolve(server: &Server, request: &mut Request) -> Option<Response> {
    let ConnectInfo(peer) = *request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    let forwarded = forwarded(&server.app.config().server, peer.ip(), request.headers())?;
    if server.https && forwarded.https == Some(false) {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "not-encrypted",
            "this request came without encryption and was not carried out: use the address that begins with https",
        );
        return Some(problem.into_response());
    }
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(forwarded.client, 0)));
    None
}

/// What the peer says, if it is believed.
fn forwarded(config: &ServerConfig, peer: IpAddr, headers: &HeaderMap) -> Option<Forwarded> {
    let is_trusted = |address: IpAddr| config.trusted_proxies.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return None;
    }
    let (hops, proto) = match config.forwarded {
        ForwardedHeader::XForwardedFor => {
            let hops = values(headers, "x-forwarded-for").map(|hop| hop.to_owned()).collect::<Vec<_>>();
            (hops, values(headers, "x-forwarded-proto").last().map(str::to_owned))
        }
        ForwardedHeader::Forwarded => {
            let hops: Vec<(String, Option<String>)> = values(headers, "forwarded")
                .map(|hop| (parameter(hop, "for").unwrap_or_default(), parameter(hop, "proto")))
                .collect();
            let proto = hops.last().and_then(|(_, proto)| proto.clone());
            (hops.into_iter().map(|(address, _)| address).collect(), proto)
        }
    };
    let mut client = peer;
    for hop in hops.iter().rev().take(HOPS_MAX) {
        // A name that hides an address, or anything else: whoever said so is the last one that is known.
        let Some(address) = address_of(hop) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    Some(Forwarded { client, https: proto.map(|proto| proto.eq_ignore_ascii_case("https")) })
}

/// The parts of a header that may be there several times, each a list with commas.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let texts = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// A parameter of a part of `Forwarded`.
fn parameter(hop: &str, name: &str) -> Option<String> {
    let pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
}

/// An address, with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let address: IpAddr =
        bare.unwrap_or(text).parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(forwarded: ForwardedHeader) -> ServerConfig {
        let network = |text: &str| stet_app::Network::try_from(text.to_owned()).unwrap();
        ServerConfig { trusted_proxies: vec![network("10.0.0.0/8"), network("127.0.0.1")], forwarded }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn client(peer: &str, pairs: &[(&'static str, &str)], forwarded_by: ForwardedHeader) -> Option<String> {
        let found = forwarded(&config(forwarded_by), peer.parse().unwrap(), &headers(pairs));
        found.map(|found| found.client.to_string())
    }

    #[test]
    fn a_proxy_that_is_not_known_is_not_believed() {
        let told = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("198.51.100.1", &told, ForwardedHeader::XForwardedFor), None);
        assert_eq!(client("10.0.0.1", &told, ForwardedHeader::XForwardedFor).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn what_a_client_made_up_is_not_believed() {
        for (told, expected) in [
            ("1.1.1.1, 192.0.2.1", "192.0.2.1"),
            ("10.9.9.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, unknown", "10.0.0.1"),
            ("192.0.2.1,", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ] {
            let found = client("10.0.0.1", &[("x-forwarded-for", told)], ForwardedHeader::XForwardedFor);
            assert_eq!(found.as_deref(), Some(expected), "{told}");
        }
        let twice = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &twice, ForwardedHeader::XForwardedFor).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn the_header_that_the_proxies_do_not_use_is_not_looked_at() {
        let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=203.0.113.9;proto=https")];
        assert_eq!(client("10.0.0.1", &both, ForwardedHeader::XForwardedFor).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &both, ForwardedHeader::Forwarded).as_deref(), Some("203.0.113.9"));
        let quoted = [("forwarded", "for=1.1.1.1, For=\"[2001:db8::7]:80\";Proto=http")];
        let found = forwarded(&config(ForwardedHeader::Forwarded), "10.0.0.1".parse().unwrap(), &headers(&quoted));
        assert_eq!(found, Some(Forwarded { client: "2001:db8::7".parse().unwrap(), https: Some(false) }));
    }
}
