"""Passwords that keep every rule of form and are guessed first all the same.

Made for this hub from what people do when a form asks for a capital letter, a digit and a sign: a word everybody takes,
a capital in front, a year and an exclamation mark behind. A guesser tries those before anything else.
"""

import re

_WORDS = frozenset(
    """
    password passwort passord wachtwoord motdepasse contrasena contrasenya senha parola haslo sifre sandi neno
    passw pass passcode passphrase pwd secret geheim secreto segredo welcome willkommen bienvenue bienvenido
    bemvindo benvenuto karibu hello hallo hola bonjour salut salam admin administrator root superuser sysadmin
    user username guest login logon default changeme changethis letmein letmeinnow trustno test testing tester
    temp temporary demo example sample training initial start starter newpassword newpass mypassword mypass
    nopassword qwerty qwertyuiop qwertz azerty asdf asdfgh asdfghjkl zxcvbn zxcvbnm yxcvbnm qazwsx
    qazwsxedc qweasd qweasdzxc wasd abc abcd abcde abcdef abcdefg abcdefgh aaa aaaa aaaaaa xyz iloveyou
    loveyou lovely love mylove sunshine princess monkey dragon master shadow superman batman spiderman
    starwars pokemon football soccer baseball basketball hockey liverpool chelsea arsenal barcelona realmadrid
    juventus computer internet samsung android google facebook whatsapp microsoft windows apple charlie
    michael jordan michelle jessica jennifer ashley daniel thomas andrew robert anthony hunter ranger buster
    killer pepper ginger cookie banana orange summer winter spring autumn fall sommer herbst fruehling january
    february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday jesus christ godisgood godbless blessed blessing amen allah jehovah
    freedom whatever nothing something flower purple silver golden diamond mustang ferrari mercedes harley
    yamaha london paris berlin madrid nairobi manila jakarta dhaka lagos kampala kinshasa addisababa kenya
    uganda ethiopia philippines indonesia bangladesh nigeria somalia yemen program programme project survey
    collect datacollect datacollection registry openspp idpass identity household enumerator supervisor
    humanitarian organization organisation company office server backend database hub
    """.split()  # noqa: SIM905 - as a list it would be one word a line
)

_LOOKALIKES = [str.maketrans("@4301!|$5789", f"aaeo{one}{one}{one}sstbg") for one in "il"]
_IN_FRONT = re.compile(r"^[\W\d_]+")
_BEHIND = re.compile(r"(?<![\W\d_])[\W\d_]+$")
_MOST_BEHIND = 8
"""What is longer is no year with a sign behind it, and makes the password."""

_ROWS = (
    *("01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm"),
    *("1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "1qaz2wsx3edc4rfv5tgb6yhn", "!qaz@wsx#edc$rfv"),
)
_RUNS = frozenset(row[at : at + 4] for text in _ROWS for row in (text, text[::-1]) for at in range(len(row) - 3))
"""Four keys or letters in a row."""


def is_obvious(password: str) -> bool:
    """Whether it is one of the words above with what people put around it, or hardly more than keys in a row."""
    folded = password.casefold()
    kept = _without_runs(folded)
    return _is_decorated_word(folded) or (kept != folded and len(kept) <= 4)


def _is_decorated_word(folded: str) -> bool:
    trimmed = _BEHIND.sub("", folded)
    for core in (trimmed, _IN_FRONT.sub("", trimmed)):
        if not core or len(folded) - len(core) > _MOST_BEHIND:
            continue
        for lookalikes in _LOOKALIKES:
            word = re.sub(r"[\W\d_]", "", core.translate(lookalikes))
            if word in _WORDS or any(word[:at] in _WORDS and word[at:] in _WORDS for at in range(3, len(word) - 2)):
                return True
    return False


def _without_runs(folded: str) -> str:
    kept, at = "", 0
    while at < len(folded):
        length = 4 if folded[at : at + 4] in _RUNS else 0
        while length and folded[at + length - 3 : at + length + 1] in _RUNS:
            length += 1
        kept += "" if length else folded[at]
        at += length or 1
    return kept
