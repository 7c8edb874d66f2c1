//! A shuffled deck dealt to four players, who sort their hands at the same time.
//!
//! ```text
//! cargo run --release --example poker -- --seed 7 --on processes
//! ```
//!
//! Coming from Python: the derives on `Card` are what `@dataclass(order=True)` writes. Order goes by
//! the fields from the first to the last, and of an `enum` by the order of its cases, so suit comes
//! before face because it stands before it. `Serialize` and `Deserialize` let a card travel.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use celeriac_examples::{Common, Result, Site};
use clap::Parser;
use serde::{Deserialize, Serialize};

const PLAYERS: [&str; 4] = ["North", "East", "South", "West"];
const SUITS: [Suit; 4] = [Suit::Clubs, Suit::Diamonds, Suit::Hearts, Suit::Spades];
const FACES: [&str; 13] = [
    "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K", "A",
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Suit {
    Clubs,
    Diamonds,
    Hearts,
    Spades,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Card {
    suit: Suit,
    /// Its place in `FACES`.
    face: u8,
}

impl fmt::Display for Card {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suit = ["♣", "♦", "♥", "♠"][self.suit as usize];
        write!(formatter, "{}{suit}", FACES[usize::from(self.face)])
    }
}

/// A player: sorts a hand by suit, then face.
#[celeriac::task(name = "poker.arrange")]
fn arrange(mut hand: Vec<Card>) -> Vec<Card> {
    hand.sort();
    hand
}

/// All 52 cards in an order that depends on `seed` alone.
fn shuffled(seed: u64) -> Vec<Card> {
    let of_suit = |suit| (0..13).map(move |face| Card { suit, face });
    let mut deck: Vec<Card> = SUITS.into_iter().flat_map(of_suit).collect();
    let mut state = seed;
    for last in (1..deck.len()).rev() {
        // SplitMix64: a few shifts and multiplications that turn a counter into random numbers.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        random ^= random >> 31;
        // Fisher and Yates: swap each card with one at random among itself and those before it.
        deck.swap(
            last,
            usize::try_from(random % (last as u64 + 1)).expect("at most 51"),
        );
    }
    deck
}

/// Deals a deck to four players
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Shuffles alike each time; at random if it is not given
    #[arg(long)]
    seed: Option<u64>,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let site = Site::open(&args.common, "threads=4").await?;
    let deck = shuffled(args.seed.unwrap_or_else(|| RandomState::new().hash_one(0)));
    let hands = deck.chunks(13).map(<[Card]>::to_vec);
    let hands: Vec<Vec<Card>> = site.app.map::<arrange>(hands).collect().await?;
    for (player, hand) in PLAYERS.iter().zip(&hands) {
        let cards: Vec<String> = hand.iter().map(Card::to_string).collect();
        println!("{player:5} {}", cards.join(" "));
    }
    site.finish(format_args!("dealt {} cards", deck.len()))
        .await?;
    Ok(())
}
