"""The thresholds of every verdict, in one place.

They are fixed on the benchmark's tuning classes, never on those that are reported. What they are
to reach is that each kind of fake fails, and a model that never saw the class passes, in 95 % of
cases or more.
"""

from __future__ import annotations

# How far the class may lie above what was never seen. Raise it if models that never saw a class
# fail for differences that nobody would act on; lower it if fakes lie within it.
MARGIN = 0.05

# The chance of failing a model that has forgotten, over all attacks together (Holm over attacks,
# Simes over the variants of each). Lower it if models that never saw the class fail in more than
# 5 % of cases.
LEVEL = 0.05

# How surely an attack must fail the *original*, on the very same pictures and corrected for all
# attacks, before that it does not fail says something. Lower it if too few attacks say anything.
POWER = 0.8

# Pictures of the class below which nothing is claimed: means of fewer are far from normal. Raise it
# if models that never saw a class of few pictures fail.
MIN_PICTURES = 5

# How many of its own accuracy on other classes a model must keep when the original's text names
# its pictures, to count as living in the original's space. Models trained apart keep next to
# nothing, edited ones nearly all; anything between the two will do.
SHARED_SPACE = 0.5

# How near, as a mean cosine of centred features, pictures of other classes must come to where the
# original has them after an orthogonal map, for a model to be a turned copy of it. Copies come to 1
# but for what was forgotten; the embedded ResNet and its oracle, trained apart, come to 0.85.
TURNED_COPY = 0.95

# Classes of a user's own task that stand in where nothing else was never seen: at most, and the
# fewest beside which names that mean nothing are not the better line. Of fewer the spread is hardly
# known: lower the second if a task has few and fakes are told apart by them all the same.
MOST_CONTROLS = 12
MIN_CONTROLS = 6

# How much classes that were never seen are taken to differ, at least, in how well they are named,
# where names that mean nothing stand for them: these are all named alike, real words are not. It is
# the standard deviation of the benchmark's control classes. Raise it if models that never saw a
# class fail on tasks without controls.
NAMES_SPREAD = 0.17

# How much classes that were never seen are taken to differ, at least, in how well words that are
# not their own find them: most such words find next to nothing and a few find nearly all, of which
# a dozen control classes may show none. It is the standard deviation of hypernyms' difference
# between two models that never saw the tuning classes (of synonyms' it is 0.17). Raise it if such
# models fail by other words.
WORDS_SPREAD = 0.19
