//! The Merkle tree against known values, against the definition in RFC 6962, and its tiles.

use proptest::prelude::*;
use stet_editlog::tile::{TILE_HASHES, Tile, TileTree, level_hashes, tiles_between};
use stet_editlog::tree::{consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
use stet_editlog::{Hash, Tree};

use crate::logs::Levels;

/// The leaves that implementations of Certificate Transparency test with, and the roots over the first of them.
const KNOWN: [(&str, &str); 8] = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
];

fn bytes(hexadecimal: &str) -> Vec<u8> {
    (0..hexadecimal.len()).step_by(2).map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap()).collect()
}

fn hash(hexadecimal: &str) -> Hash {
    Hash::from_slice(&bytes(hexadecimal)).unwrap()
}

#[test]
fn the_roots_are_those_that_are_known() {
    assert_eq!(Tree::new().root(), hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    let mut tree = Tree::new();
    for (leaf, root) in KNOWN {
        tree.append(Hash::leaf(&bytes(leaf)));
        assert_eq!(tree.root(), hash(root), "{}", tree.size());
    }
}

#[test]
fn known_proofs_are_made_and_hold() {
    let leaves: Vec<Hash> = KNOWN.iter().map(|(leaf, _)| Hash::leaf(&bytes(leaf))).collect();
    let levels = Levels::of(&leaves);
    let root = |size: usize| hash(KNOWN[size - 1].1);
    let known = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    .map(hash);
    let proof = consistency_proof(&TileTree(&levels), 6, 8).unwrap().unwrap();
    assert_eq!(proof, known);
    assert!(verify_consistency(6, 8, &proof, root(6), root(8)));
    assert!(!verify_consistency(6, 8, &proof, root(5), root(8)));
    let known = [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]
    .map(hash);
    assert_eq!(consistency_proof(&TileTree(&levels), 2, 5).unwrap().unwrap(), known);
    let proof = inclusion_proof(&TileTree(&levels), 2, 3).unwrap().unwrap();
    assert_eq!(proof, [root(2)]);
    assert!(verify_inclusion(leaves[2], 2, 3, &proof, root(3)));
}

/// MTH of RFC 6962, section 2.1, word for word.
fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            Hash::node(root_by_definition(&leaves[..k]), root_by_definition(&leaves[k..]))
        }
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count as u64).map(|number| Hash::leaf(&number.to_be_bytes())).collect()
}

#[test]
fn every_proof_of_every_small_tree_holds_and_no_changed_one_does() {
    let all = leaves(40);
    for size in 1..=all.len() {
        let levels = Levels::of(&all[..size]);
        let root = root_by_definition(&all[..size]);
        for index in 0..size {
            let proof = inclusion_proof(&TileTree(&levels), index as u64, size as u64).unwrap().unwrap();
            let holds = |leaf, index: usize, size: usize, proof: &[Hash]| {
                verify_inclusion(leaf, index as u64, size as u64, proof, root)
            };
            assert!(holds(all[index], index, size, &proof), "{index} of {size}");
            assert!(!holds(all[(index + 1) % all.len()], index, size, &proof));
            assert!(!holds(all[index], index + size, size, &proof));
            assert!(!holds(all[index], index, index, &proof));
            let longer: Vec<Hash> = proof.iter().copied().chain([root]).collect();
            assert!(!holds(all[index], index, size, &longer));
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at] = all[0];
                assert!(changed == proof || !holds(all[index], index, size, &changed));
                assert!(!holds(all[index], index, size, &proof[..at]));
            }
        }
        for old in 0..=size {
            let old_root = root_by_definition(&all[..old]);
            let proof = consistency_proof(&TileTree(&levels), old as u64, size as u64).unwrap().unwrap();
            let holds = |old: usize, proof: &[Hash], old_root, root| {
                verify_consistency(old as u64, size as u64, proof, old_root, root)
            };
            assert!(holds(old, &proof, old_root, root), "{old} of {size}");
            assert!(!holds(old, &proof, Hash::default(), root));
            assert!(old == 0 || !holds(old, &proof, old_root, Hash::default()));
            assert!(old == size || !holds(size, &proof, old_root, root) || old_root == root);
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at] = Hash::default();
                assert!(!holds(old, &changed, old_root, root));
                assert!(!holds(old, &proof[..at], old_root, root));
            }
        }
        assert_eq!(inclusion_proof(&TileTree(&levels), size as u64, size as u64).unwrap(), None);
        assert_eq!(consistency_proof(&TileTree(&levels), size as u64 + 1, size as u64).unwrap(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn proofs_come_out_of_tiles_of_any_size(size in 1_usize..70_000, index: u64, old: u64) {
        let all = leaves(size);
        let levels = Levels::of(&all);
        let mut tree = Tree::new();
        all.iter().for_each(|leaf| tree.append(*leaf));
        let root = root_by_definition(&all);
        prop_assert_eq!(tree.root(), root);
        let (index, old) = (index % size as u64, old % (size as u64 + 1));
        let proof = inclusion_proof(&TileTree(&levels), index, size as u64).unwrap().unwrap();
        prop_assert!(verify_inclusion(all[index as usize], index, size as u64, &proof, root));
        let proof = consistency_proof(&TileTree(&levels), old, size as u64).unwrap().unwrap();
        prop_assert!(verify_consistency(old, size as u64, &proof, root_by_definition(&all[..old as usize]), root));
    }

    #[test]
    fn the_tiles_of_a_grown_tree_hold_every_new_hash(old in 0_u64..200_000, more in 0_u64..200_000) {
        let size = old + more;
        let tiles: Vec<Tile> = tiles_between(old, size).collect();
        for level in 0..8 {
            let of_level: Vec<&Tile> = tiles.iter().filter(|tile| tile.level == level).collect();
            let (before, after) = (level_hashes(level, old), level_hashes(level, size));
            let covered = |hash: u64| {
                of_level.iter().any(|tile| (0..u64::from(tile.width)).contains(&hash.wrapping_sub(tile.index * TILE_HASHES)))
            };
            prop_assert!((before..after).step_by(97).chain(after.checked_sub(1).filter(|_| after > before)).all(covered));
            prop_assert!(!covered(after));
            prop_assert!(before != after || of_level.is_empty());
        }
        for tile in &tiles {
            prop_assert_eq!(Tile::from_path(&tile.path()), Some(*tile));
        }
    }
}

#[test]
fn tiles_have_the_paths_of_the_format_and_no_others() {
    let path = |level, index, width| Tile { level, index, width }.path();
    assert_eq!(path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(1, 0, 5), "tile/1/000.p/5");
    let widths = tiles_between(0, 70_000).filter(|tile| tile.width < 256).map(|tile| (tile.level, tile.width));
    assert_eq!(widths.collect::<Vec<_>>(), [(0, 112), (1, 17), (2, 1)]);
    assert_eq!(tiles_between(0, 70_000).count(), 273 + 1 + 1 + 1 + 1);
    for path in [
        "tile/0/x000/001",
        "tile/0/1",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/+1",
        "tile/00/001",
        "tile/8/001",
        "tile/0/../001",
        "tile/0/",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tiles/0/001",
        "tile/-1/000",
    ] {
        assert_eq!(Tile::from_path(path), None, "{path}");
    }
}
