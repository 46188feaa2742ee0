"""Masks the values of names that say they are secret, in a line of any language: a name, a sign, quotes, a value.

Every pattern is tried at one place and reads each letter a bounded number of times, so that long lines cost no more per
letter than short ones.
"""

from __future__ import annotations

import re

from modelry._sdk.values.secret_names import Kind, kind, takes_many

MASK = "***"

STEMS = (
    *("pass", "pwd", "secret", "key", "token", "cred", "authorization", "cookie", "dsn", "connection", "jwt"),
    *("sig=", "signature=", "auth=", "sas=", "pat=", "_pat", "-pat", "-auth"),
)
"""A name that says so has one of these, in small letters."""
_STEM = re.compile("|".join(map(re.escape, STEMS)).replace("=", "(?==)"))
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_LONGEST = 64
"""Letters of a name before and after the stem that count."""
_LONGEST_CODE = 512
"""A value without quotes that is longer is taken for a secret, without a look at whether it is code."""
_REST = re.compile(rf"[\w.-]{{0,{_LONGEST}}}", re.A)
_FIRST = re.compile(r"\w+[ ]$", re.A)

_SIGN = re.compile(r"(?P<closing>\\{0,3}[\"'`])?+\]?+\s*+(?P<sign>:=|=>|={1,3}|!=|:(?![:/])|[,>])\s*+")
_TYPED = re.compile(r"\s*+:\s*+(?:str|bytes|string|SecretStr|Optional\[str\]|str ?\| ?None)\s*+=\s*+")
_ANNOTATED = re.compile(
    r"\s{0,8}:\s{0,8}[A-Za-z][\w.\[\]| ]{0,60}?\s{0,8}=\s{0,8}(?=(?:[A-Za-z]{1,12}\()?[A-Za-z]{0,2}[\"'])"
)
_COLUMN = re.compile(r"(?:[\"'`]?+\s*+[|│┃║]\s*+|(?:\t|\s{2})\s*+|(?<=\.\.)\.*+\s++)(?=[^\s|│┃║])")
"""What is between a name and its value in a table: a line, spaces, or dots."""
_TYPE = re.compile(
    r"(?i:u?int|float|complex|bool|bytes|str|string|object|category|datetime|timedelta|n?varchar|char)\d*(?:[\[(].*)?"
)
_ENV = re.compile(r"(?:^|[\s+-])(?:ENV|setenv|SetEnv)[ \t]{1,8}$")
"""Before a name and its value in a Dockerfile, in csh, and in the settings of Apache."""
_IN_BRACES = re.compile(r"\[[A-Z_ ]*\]|\{+(?:[\s\w.]*\}+)?")
"""What says nothing in brackets and braces on a command line: a mask, or a variable of a template."""
_DICTIONARY = re.compile(r"\{\s{0,8}(?=[a-zA-Z]{0,2}\\{0,3}[\"'])|dict\(\s{0,8}(?=\w{1,64}\s{0,8}=)")
_ENTRY = re.compile(
    r"(?:[a-zA-Z]{0,2}\\{0,3}[\"'][^\"'\\]{0,128}\\{0,3}[\"']\s{0,8}:|\w{1,64}\s{0,8}=)\s{0,8}"
    r"(?:[a-zA-Z]{0,2}(?P<quote>\\{0,3}[\"'])|[^\"',{}\[\]]{1,64}(?=,))"
)
_OPENS = re.compile(
    r"(?P<name>[\w.-]{1,64})(?:[\"']?\]?)\s{0,8}(?::\s{0,8}[\w.\[\], ]{1,60}=|[=:])\s{0,8}(?:\{|\[|dict\()$", re.A
)
_INSIDE = re.compile(r"[+-]?\s{0,64}(?=[\"'\w]|#|$)", re.A)
_LIST = re.compile(r"\\{0,3}[\"']?\s{0,8}[=:]\s{0,8}[\[(]\s{0,8}")
_MADE = re.compile(r"(?=\D*\d)(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])[\w+/=.-]{12,}|(?=\D*\d)[0-9a-f]{24,}", re.A)
"""A secret by its form, without a name that says so."""
_COMMA = re.compile(r"\s{0,8},\s{0,8}")
_MOST_VALUES = 64
"""How many values of one name are looked at."""
_AFTER_OPTION = re.compile(r"[ \t]{1,8}(?=[^\s=:,-])")
_QUOTE = re.compile(
    r"(?:(?:SecretStr|SecretBytes|Field|str|bytes|quote|quote_plus)\(|(?P<list>[\[(]))?"
    r"[a-zA-Z]{0,2}(?P<quote>\\{0,3}(?:\"\"\"|'''|[\"'`]))"
)
_OPTION_INSIDE = re.compile(r"[^\w-]--?[A-Za-z]", re.A)
_UNBROKEN = re.compile(r"\S*")
_NEXT = re.compile(r"\s{0,8},\s{0,8}[a-zA-Z]{0,2}(?P<quote>\\{0,3}[\"'])")
_BARE = re.compile(
    r"(?![(\[{<|>])(?:"
    r"[^\s,;&\"'`)\]}<>\\]++"
    r"|[,;&](?![\s\"'`)\]}]|$|[\w.-]{1,64}\s{0,2}[=:])"  # a comma inside of a value
    r"|[\"'`)\]}>](?=[^\s,.;:&\"'`)\]}<>\\])"  # so does a bracket or a quote
    r"|\\(?![\"'`])"
    r")+",
    re.A,
)
_HEADER = re.compile(
    r"(?P<scheme>(?i:bearer|basic|token|digest|negotiate|apikey)\s{1,8})(?P<value>[^\s\"'`\\,;]+)", re.A
)
_COOKIES = re.compile(r"(?=[^\"'`=;]{1,64}=)[^\"'`\\]+")

_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\[[^\[\]\"',]*\]|\{(?!\s*\\?[\"']).*|\$\{.*|\$\(.*|\$[A-Z_]+|%(?:\(\w*\))?[a-z]|\.{3}|…|\*+|(?P<none>(?i:none|null|nil|true"
    r"|false|undefined))|(?:str|string|bytes|int|float|bool|any|object|dict|list|Any|SecretStr)|(?:Optional|Union|list"
    r"|dict)\[.*|\?|:[a-z_]+|\$\d{1,2}"  # the last ones are parameters of SQL
)
_NUMBER = re.compile(r"[-+]?(?:\d{1,5}|\d{0,9}\.\d+)(?:e[-+]?\d+)?[a-zA-Z%/]{0,4}")
_COUNT = re.compile(r"\d{1,12}")
_SNAKE = re.compile(r"[a-z]{1,20}(?:_[a-z]{1,20}){1,5}\d{0,3}")
"""The name of a column or a metric, such as `user_id` and `val_loss`."""
_ENDING = re.compile(
    r"[^\s=;]{1,255}\.(?:arrow|bin|csv|feather|gz|h5|json|jsonl|md|npy|npz|onnx|parquet|pkl|pt|pth|py|safetensors|sh"
    r"|toml|tsv|txt|xml|ya?ml|zip|zst)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]{1,15}|[A-Z][a-z]{1,14}")
_CALL = re.compile(r"[A-Za-z_][A-Za-z_.]*[(\[]")
_ATTRIBUTE = re.compile(
    r"(?:self|cls|os|sys|args|opts|options|cfg|config|conf|settings|env|secrets|hparams|params|flags|FLAGS|process|this"
    r"|ctx|request|kwargs|st)\.[A-Za-z_.]+"
)
_VARIABLE = re.compile(r"\$?[A-Za-z_.]+")
_FOLDER = re.compile(r"[/~.]|[A-Za-z]:[\\/]")


def mask_values(line: str) -> str:
    """The line with `***` in the place of each value whose name says that it is a secret."""
    small = line.lower()
    if len(small) != len(line):  # a letter such as İ becomes two
        small = "".join(letter.lower() if letter.isascii() else letter for letter in line)
    shown: list[str] = []
    done = place = 0
    while (stem := _STEM.search(small, place)) is not None:
        around = line[max(done, stem.start() - _LONGEST) : stem.start()]
        begin = stem.start() - len(around) + len(around.rstrip(_LETTERS))
        rest = _REST.match(line, stem.end())
        place = rest.end() if rest is not None else stem.end()
        for start, end in _values(line, begin, place):
            shown += (line[done:start], MASK)
            done = place = end
    return "".join((*shown, line[done:]))


def opens_many(line: str) -> bool:
    """Whether a line ends where a dictionary or a list of secrets begins, whose values are in the next ones."""
    end = line.rstrip()
    if not end.endswith(("{", "[", "(")):
        return False
    opened = _OPENS.search(end, max(0, len(end) - 200))
    return opened is not None and kind(opened["name"]) >= Kind.SECRET


def mask_many(line: str) -> str | None:
    """A line inside of such a dictionary or list with its values masked. None if it is none of its lines."""
    begun = _INSIDE.match(line)
    if begun is None:
        return None
    found = _in_dictionary(line, begun.end(), Kind.SECRET)
    if not found and (opened := _QUOTE.match(line, begun.end())) is not None:
        end = _closing(line, opened.end(), opened["quote"])
        is_one = line[end + len(opened["quote"]) :].strip(" \t\r,") == ""
        found = (
            [(opened.end(), end)] if is_one and not _is_shown_quoted(line[opened.end() : end], Kind.SECRET, "=") else []
        )
    for start, end in reversed(found):
        line = line[:start] + MASK + line[end:]
    return line


def _values(line: str, begin: int, end: int) -> list[tuple[int, int]]:
    """Where the values are that belong to the name at this place, if it has any that must not be shown."""
    name = line[begin:end]
    is_option = name.startswith("--") or (begin > 0 and name.startswith("-"))  # else a line that a diff takes away
    sure = kind(name, is_option=is_option, is_in_query=line[begin - 1 : begin] in ("?", "&"))
    if not sure and name in ("key", "Key"):
        sure = _kind_of_key(line, begin)
    if not sure and name.lower().endswith("tokens") and (many := _LIST.match(line, end)):
        return _made_ones(line, many.end())
    if not sure:
        return []
    if is_option and (after := _AFTER_OPTION.match(line, end)):
        first = _at(line, after.end(), name, sure, " ")
        return first + _further(line, first[-1][1]) if first and takes_many(name) else first
    if _ENV.search(line[max(0, begin - 20) : begin]) and (after := _AFTER_OPTION.match(line, end)):
        value = line[after.end() :].rstrip()
        return [] if is_harmless(value.split()[0], name, sure) else [(after.end(), after.end() + len(value))]
    if annotated := _ANNOTATED.match(line, end):
        return _at(line, annotated.end(), name, sure, "=")
    if typed := _TYPED.match(line, end):
        return _at(line, typed.end(), name, sure, "=")
    if (sign := _SIGN.match(line, end)) is None:
        return _in_next_column(line, end, name, sure)
    if sign["sign"] == ">" and line[begin - 1 : begin] != "<":
        return []
    if sign["sign"] == "," and sign["closing"] is None:
        return []
    return _at(line, sign.end(), name, sure, sign["sign"])


def _further(line: str, place: int) -> list[tuple[int, int]]:
    """What follows the first of several values and looks random, until the next option: words may be a sentence."""
    found: list[tuple[int, int]] = []
    word = _UNBROKEN.match(line, place)
    for _ in range(_MOST_VALUES):
        if word is None or (after := _AFTER_OPTION.match(line, word.end())) is None:
            break
        word = _UNBROKEN.match(line, after.end())
        if word is not None and _OPTION_INSIDE.search(word[0]):
            break  # it is looked at by itself, and so is what follows it
        if word is not None and looks_random(word[0]) and not _is_plain(word[0]):
            found.append(word.span())
    return found


def _made_ones(line: str, place: int) -> list[tuple[int, int]]:
    """The texts of a list of tokens, if they look made: others are tokens of a text."""
    found: list[tuple[int, int]] = []
    for _ in range(_MOST_VALUES):
        if (opened := _QUOTE.match(line, place)) is None or opened["list"]:
            break
        end = _closing(line, opened.end(), opened["quote"])
        if _MADE.fullmatch(line, opened.end(), end):
            found.append((opened.end(), end))
        if (comma := _COMMA.match(line, end + len(opened["quote"]))) is None:
            break
        place = comma.end()
    return found


def _in_dictionary(line: str, place: int, sure: Kind) -> list[tuple[int, int]]:
    """The quoted values of a dictionary, as in `passwords = {'ada': '…'}`."""
    found: list[tuple[int, int]] = []
    for _ in range(_MOST_VALUES):
        if (entry := _ENTRY.match(line, place)) is None:
            break
        place = entry.end()
        if quote := entry["quote"]:
            end = _closing(line, place, quote)
            if not _is_shown_quoted(line[place:end], sure, ":"):
                found.append((place, end))
            place = end + len(quote)
        if (comma := _COMMA.match(line, place)) is None:
            break
        place = comma.end()
    return found


def _in_next_column(line: str, end: int, name: str, sure: Kind) -> list[tuple[int, int]]:
    """The value in the column after a sure name, if it looks random: the others are types, numbers and words."""
    if sure is Kind.MAYBE or (column := _COLUMN.match(line, end)) is None:
        return []
    opened = _QUOTE.match(line, column.end())
    if opened is not None:
        return _quoted(line, opened, name, sure, " ")
    begun = _BARE.match(line, column.end(), column.end() + _LONGEST_CODE)
    if begun is None or not looks_random(begun[0]) or _TYPE.fullmatch(begun[0]) or _NUMBER.fullmatch(begun[0]):
        return []
    is_shown = begun[0].isdecimal() or _is_shown_bare(begun[0], name.lower(), sure, "|")
    bare = None if is_shown else _BARE.match(line, column.end())
    return [bare.span()] if bare is not None else []


def _kind_of_key(line: str, begin: int) -> Kind:
    """What `key` says after a word with a space, as in `API key: …`, and as the argument of a login."""
    before = line[max(0, begin - 32) : begin]
    if before.endswith("login("):
        return Kind.SECRET
    first = _FIRST.search(before)
    return min(kind(f"{first[0].strip()}_key"), Kind.MAYBE) if first is not None else Kind.NONE


def _at(line: str, place: int, name: str, sure: Kind, sign: str) -> list[tuple[int, int]]:
    opened = _QUOTE.match(line, place)
    if opened is not None:
        return _quoted(line, opened, name, sure, sign)
    if sign in ("=", ":", ":=", "=>", " ") and (dictionary := _DICTIONARY.match(line, place)):
        return _in_dictionary(line, dictionary.end(), sure)
    if sign in (",", "==", "===", "!="):
        return []
    small = name.lower()
    if small.endswith("authorization") and (header := _HEADER.match(line, place)):
        return [header.span("value")]
    if small.endswith(("cookie", "cookies")) and sign in ":=" and (cookies := _COOKIES.match(line, place)):
        return [cookies.span()]
    begun = _BARE.match(line, place, place + _LONGEST_CODE)
    if begun is None or (begun.end() < place + _LONGEST_CODE and _is_shown_bare(begun[0], small, sure, sign)):
        return []
    bare = _BARE.match(line, place)
    return [bare.span()] if bare is not None else []


def _quoted(line: str, opened: re.Match[str], name: str, sure: Kind, sign: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    one: re.Match[str] | None = opened
    while one is not None:
        start, end = one.end(), _closing(line, one.end(), one["quote"])
        if end == len(line) and sure is Kind.MAYBE and (word := _UNBROKEN.match(line, start)):
            end = word.end()  # a quote that nothing closes says nothing
        value = line[start:end]
        after = end + len(one["quote"])
        if sign == ",":
            is_shown = not looks_random(value) or line[after : after + 1] == ":"
        else:
            is_shown = _is_shown_quoted(value, sure, sign)
        if not is_shown and name.lower().endswith("authorization") and (header := _HEADER.fullmatch(value)):
            start += header.start("value")
        if not is_shown:
            found.append((start, end))
        one = _NEXT.match(line, after) if opened["list"] and not is_shown else None
    return found


def is_harmless(value: str, name: str, sure: Kind) -> bool:
    """Whether an argument shows nothing though its name says that it is a secret: nothing, a variable, a number."""
    if value[:1] in ("[", "{"):
        return _IN_BRACES.fullmatch(value) is not None
    if not value or value in ('""', "''") or _PLACEHOLDER.fullmatch(value):
        return True
    if name.lower().endswith("pwd") and _FOLDER.match(value):
        return True
    if name.strip("-+") in ("key", "tokens") and (_is_plain(value) or _SNAKE.fullmatch(value)):
        return True
    return sure is not Kind.PASSWORD and _NUMBER.fullmatch(value) is not None


def _is_plain(value: str) -> bool:
    """Whether a word is a number or the name of a file, which after `--tokens` are no secrets."""
    return _NUMBER.fullmatch(value) is not None or _COUNT.fullmatch(value) is not None or _is_file(value)


def _is_file(value: str) -> bool:
    has_ending = _ENDING.fullmatch(value) is not None
    return has_ending or ("/" in value and not any(map(looks_random, value.split("/"))))


def _closing(line: str, place: int, quote: str) -> int:
    """Where the quoted text ends that begins at a place: at its quote, or at the end of the line."""
    end = line.find(quote, place)
    while end > place and not quote.startswith("\\") and line[end - 1] == "\\" and _is_escaped(line, place, end):
        end = line.find(quote, end + 1)
    return end if end >= 0 else len(line)


def _is_escaped(line: str, place: int, end: int) -> bool:
    slashes = 1
    while end - slashes - 1 >= place and slashes < _LONGEST and line[end - slashes - 1] == "\\":
        slashes += 1
    return slashes % 2 == 1


def _is_shown_quoted(value: str, sure: Kind, sign: str) -> bool:
    if not value or _PLACEHOLDER.fullmatch(value):
        return True
    if sure is Kind.MAYBE:
        is_word = sign == ":" and _WORD.fullmatch(value) is not None
        return len(value) < 4 or is_word or _NUMBER.fullmatch(value) is not None or _is_prose(value)
    return sure is Kind.SECRET and _NUMBER.fullmatch(value) is not None


def _is_prose(value: str) -> bool:
    return any(letter.isspace() for letter in value[:200]) and not value.lower().startswith(("bearer ", "basic "))


def _is_shown_bare(value: str, name: str, sure: Kind, sign: str) -> bool:
    if _PLACEHOLDER.fullmatch(value) or _CALL.match(value) or _ATTRIBUTE.fullmatch(value):
        return True
    if name.endswith("pwd") and _FOLDER.match(value):  # the working directory
        return True
    if sign == " " and name.strip("-") in ("key", "tokens") and (not looks_random(value) or _is_plain(value)):
        return True
    if sure is not Kind.PASSWORD and _NUMBER.fullmatch(value):
        return True
    if sure is Kind.MAYBE and (len(value) < 6 or (sign == ":" and _WORD.fullmatch(value))):
        return True
    return _VARIABLE.fullmatch(value) is not None and _is_of_name(value, name)


def _is_of_name(value: str, name: str) -> bool:
    """Whether a word is a variable of the same meaning, as in `token=hf_token`, and not the secret."""
    last = re.split(r"[_.-]", name.strip("-_."))[-1]
    return value.lower().endswith(last) and (value.islower() or "_" in value or "." in value)


def looks_random(value: str) -> bool:
    """Whether a word has a number or capitals inside, as made secrets have and most words have not."""
    return len(value) >= 6 and " " not in value and re.search(r"\d|[a-z][A-Z]|[A-Z]{3}", value[:200]) is not None
