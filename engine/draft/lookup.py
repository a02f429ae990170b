"""Lookup drafting: continue with what followed the same words before, in the prompt or in the output so far.

Token ids only. The index is the suffix automaton of the text, grown online (Blumer et al., Theoretical Computer Science
40, 1985): its suffix link from the whole text is the longest suffix that stands elsewhere too, of whatever length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST = 1  # tokens of a match; one is right only once in five, which is for the controller to know (bench/LOG.md)
_MOST_READ = 4096  # tokens indexed in one call, about 7 ms: a long prompt must not hold up the other rows
_MOST_RENEWED = 32  # runs that move to their newest occurrence with each token; ordinary text has 1 to 4


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier occurrence of the end of the text: ``follows`` is the index behind it, ``length`` its tokens."""

    follows: int
    length: int


class SuffixIndex:
    """A growing text that finds the longest suffix of itself that has occurred before. O(1) amortised a token.

    A state stands for all runs of tokens that end at the same places. By state, lists keep its transitions, its link
    (the state of its longest suffix that ends elsewhere too), the length of its longest run and the index behind its
    newest occurrence. Tokens are indexed only when somebody asks: a row that never looks anything up pays nothing.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)
        self._read = 0  # tokens indexed so far
        self._whole = 0  # the state of the whole text read; state 0 is the empty run
        self._transitions: list[dict[int, int]] = [{}]
        self._links = [-1]
        self._lengths = [0]
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._tokens)

    def push(self, token: int) -> None:
        """Take the next token."""
        self._tokens.append(token)

    def match(self) -> Match | None:
        """The most recent earlier occurrence of the longest suffix that has one; None when there is none.

        Also None while more of the text has to be read than one call may (a long prompt takes several). In text so
        periodic that one token ends more than 32 different repeated runs, the occurrence may be an older one.
        """
        self._catch_up()
        state = self._links[self._whole]
        if self._read < len(self._tokens) or state < 0 or self._lengths[state] < SHORTEST:
            return None
        return Match(self._ends[state], self._lengths[state])

    def draft(self, most: int) -> list[int]:
        """Up to ``most`` tokens that may come next; where the match reaches the end, it repeats itself."""
        match = self.match()
        if match is None or most < 1:
            return []
        known = self._tokens[match.follows : match.follows + most]
        while len(known) < most:
            known += known[: most - len(known)]
        return known

    def _catch_up(self) -> None:
        fresh = self._tokens[self._read : self._read + _MOST_READ]
        for token in fresh:
            self._renew()
            self._extend(token)
            self._read += 1

    def _renew(self) -> None:
        """Let the runs that end the text know this occurrence; only now, or a suffix would find itself."""
        state = self._links[self._whole]
        for _ in range(_MOST_RENEWED):
            if state <= 0:
                return
            self._ends[state] = self._read
            state = self._links[state]

    def _extend(self, token: int) -> None:
        """Add the state of the text with one token more, and transitions to it from every suffix that had none."""
        transitions, links = self._transitions, self._links
        new, state = len(links), self._whole
        self._add({}, 0, self._read + 1, self._read + 1)
        while state >= 0 and token not in transitions[state]:
            transitions[state][token] = new
            state = links[state]
        if state >= 0:
            links[new] = self._only(state, token)
        self._whole = new

    def _only(self, state: int, token: int) -> int:
        """The state of exactly the longest run of ``state`` and ``token``, split off from longer runs if need be."""
        transitions, links = self._transitions, self._links
        target = transitions[state][token]
        length = self._lengths[state] + 1
        if self._lengths[target] == length:
            return target
        split = len(links)
        self._add(transitions[target].copy(), links[target], length, self._ends[target])
        links[target] = split
        while state >= 0 and transitions[state].get(token) == target:
            transitions[state][token] = split
            state = links[state]
        return split

    def _add(self, transitions: dict[int, int], link: int, length: int, end: int) -> None:
        self._transitions.append(transitions)
        self._links.append(link)
        self._lengths.append(length)
        self._ends.append(end)
