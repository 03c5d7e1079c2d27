//! The Merkle tree of RFC 6962: its root, kept up while leaves are appended, and its two proofs.

use crate::hash::Hash;

/// The most hashes that a proof can have: one for each bit of a size.
pub const PROOF_HASHES_MAX: usize = 64;

/// A tree as the roots of its perfect subtrees (a *compact range*): what is needed to append and to tell the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// One for each bit of `size` that is set, the largest subtree first.
    peaks: Vec<Hash>,
}

/// An inner node that became complete: at `height` above the leaves, the `index`-th of its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// How far above the leaves.
    pub height: u32,
    /// Its place among the nodes of its height, from 0.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// A tree from the roots of its perfect subtrees, the largest first; none if there are not as many as `size` has set
    /// bits.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Tree> {
        (peaks.len() == size.count_ones() as usize).then_some(Tree { size, peaks })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect trees that it is made of, from the largest on: what [`Tree::from_peaks`] takes.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_| {});
    }

    /// Appends a leaf, and tells the inner nodes that it completes, from the leaf upwards.
    pub fn append_with(&mut self, leaf: Hash, mut completed: impl FnMut(Node)) {
        let (mut hash, mut height) = (leaf, 0);
        while self.size >> height & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = Hash::node(left, hash);
            height += 1;
            completed(Node { height, index: self.size >> height, hash });
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Hash::empty_root(),
            Some(last) => peaks.fold(*last, |right, left| Hash::node(*left, right)),
        }
    }
}

/// Gives the hashes of perfect subtrees, for making proofs.
pub trait Subtrees {
    /// Why a hash could not be had.
    type Error;
    /// The root of the perfect subtree over the leaves from `index << height` to `(index + 1) << height`. It is only asked
    /// for subtrees that lie within the tree.
    fn subtree(&self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root over the leaves from `start` to `end`, where `start` is a multiple of the power of two that `end - start`
/// reaches.
pub fn range_root<S: Subtrees>(subtrees: &S, start: u64, end: u64) -> Result<Hash, S::Error> {
    let size = end - start;
    if size == 0 {
        return Ok(Hash::empty_root());
    }
    if size.is_power_of_two() {
        let height = size.trailing_zeros();
        return subtrees.subtree(height, start >> height);
    }
    let middle = start + split(size);
    Ok(Hash::node(range_root(subtrees, start, middle)?, range_root(subtrees, middle, end)?))
}

/// The proof that leaf `index` is in the tree of `size` leaves (RFC 6962, section 2.1.1), from the leaf's sibling upwards.
/// None if there is no such leaf.
pub fn inclusion_proof<S: Subtrees>(subtrees: &S, index: u64, size: u64) -> Result<Option<Vec<Hash>>, S::Error> {
    if index >= size {
        return Ok(None);
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(range_root(subtrees, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(subtrees, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(Some(proof))
}

/// The proof that the tree of `old_size` leaves is the beginning of that of `size` (RFC 6962, section 2.1.2). Empty for
/// an empty old tree and for equal sizes; none if the old tree is the larger one.
pub fn consistency_proof<S: Subtrees>(subtrees: &S, old_size: u64, size: u64) -> Result<Option<Vec<Hash>>, S::Error> {
    if old_size > size {
        return Ok(None);
    }
    let mut proof = Vec::new();
    if old_size == 0 || old_size == size {
        return Ok(Some(proof));
    }
    let (mut start, mut end) = (0, size);
    // Whether the part looked at is the whole old tree, whose root the verifier knows.
    let mut whole = true;
    while end != old_size {
        let middle = start + split(end - start);
        if old_size <= middle {
            proof.push(range_root(subtrees, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(subtrees, start, middle)?);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_root(subtrees, start, end)?);
    }
    proof.reverse();
    Ok(Some(proof))
}

/// Whether `proof` shows that the leaf with this hash is leaf `index` of the tree with this size and root.
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> bool {
    if index >= size || proof.len() > PROOF_HASHES_MAX {
        return false;
    }
    let (mut hash, mut node, mut last) = (leaf, index, size - 1);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = Hash::node(*sibling, hash);
            // A node without a right sibling moves up until it is a right child.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(hash, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root
}

/// Whether `proof` shows that the tree of `old_size` with `old_root` is the beginning of that of `size` with `root`.
pub fn verify_consistency(old_size: u64, size: u64, proof: &[Hash], old_root: Hash, root: Hash) -> bool {
    if old_size > size || proof.len() > PROOF_HASHES_MAX {
        return false;
    }
    if old_size == size {
        return proof.is_empty() && old_root == root;
    }
    if old_size == 0 {
        return proof.is_empty() && old_root == Hash::empty_root();
    }
    let mut rest = proof.iter().copied();
    // A perfect old tree is itself the first hash.
    let first = if old_size.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old_size - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = Hash::node(sibling, old);
            new = Hash::node(sibling, new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = Hash::node(new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == old_root && new == root
}

/// The largest power of two smaller than `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}
