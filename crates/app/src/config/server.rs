//! `[server]` of `stet.toml`: who stands before the server and tells for whom a request is.

use std::net::IpAddr;

use serde::Deserialize;

/// Who stands before the server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The networks of the proxies that are believed; nobody is if there are none.
    pub trusted_proxies: Vec<Network>,
    /// The header in which they tell the client's address. The other one is never looked at: a proxy passes on what it does
    /// not know, and that may be the client's own.
    pub forwarded: ForwardedHeader,
}

/// The header in which proxies tell for whom a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
}

/// Addresses that begin alike, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    /// How many bits are alike.
    bits: u32,
}

impl Network {
    /// Whether an address is in it. An IPv4 address that is written as an IPv6 one is the same.
    pub fn contains(&self, address: IpAddr) -> bool {
        let alike =
            |ours: u128, theirs: u128, width: u32| self.bits == 0 || (ours ^ theirs) >> (width - self.bits) == 0;
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => alike(ours.to_bits().into(), theirs.to_bits().into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => alike(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Network, String> {
        let wrong = || format!("`{text}` is no network: write such as \"10.0.0.0/8\", \"fd00::/8\" or \"127.0.0.1\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
        if bits > width { Err(wrong()) } else { Ok(Network { address, bits }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_or_not() {
        let network = |text: &str| Network::try_from(text.to_owned()).unwrap();
        for (inside, text, address) in [
            (true, "10.0.0.0/8", "10.255.0.1"),
            (false, "10.0.0.0/8", "11.0.0.1"),
            (true, "127.0.0.1", "127.0.0.1"),
            (true, "127.0.0.1", "::ffff:127.0.0.1"),
            (false, "127.0.0.1", "127.0.0.2"),
            (true, "0.0.0.0/0", "192.0.2.1"),
            (false, "0.0.0.0/0", "2001:db8::1"),
            (true, "2001:db8::/32", "2001:db8:ffff::1"),
            (false, "2001:db8::/32", "2001:db9::1"),
            (true, "::/0", "2001:db8::1"),
        ] {
            assert_eq!(network(text).contains(address.parse().unwrap()), inside, "{address} in {text}");
        }
        for text in ["", "10.0.0.0/33", "::1/129", "10.0.0/8", "proxy.example", "10.0.0.0/x"] {
            assert!(Network::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
