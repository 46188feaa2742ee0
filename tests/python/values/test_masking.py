"""What is masked and what is not, in a line of the console, in a line of a diff and on a command line."""

from __future__ import annotations

import time

import pytest

from modelry._sdk.fluent.ending import ended_after
from modelry._sdk.values import secrets

S = "sEcr3tq7Rt5Yp0Lm2"
"""A value that must not be shown."""

SECRETS = [
    # variables, as shells, files of settings and programs write them
    *(f"HF_TOKEN={S} python train.py", f"loaded api_key={S} from env", f"PGPASSWORD={S} psql", f"DB_PASS={S}"),
    *(f"export AWS_SECRET_ACCESS_KEY={S}", f"MYSQL_PWD={S}", f"set WANDB_API_KEY={S}", f"env API_KEY={S} make"),
    *(f"myApiKey = {S}", f"client-secret: {S}", f"api.key={S}", f"dbPassword={S}", f"x-auth-token: {S}"),
    *(f"password_old={S}", f"SECRET_KEY_BASE={S}", f"TOKEN2={S}", f"password1: {S}", f"GITHUB_PAT={S}"),
    *(f"password = {S} lr = 3", f"Password : {S}", f"api_key: {S}, lr: 3", f"API key: {S}", f"access token: {S}"),
    *(f"secret:={S}", f"password => {S}", f"'password' => '{S}',", f"password:{S}", f"passphrase={S}."),
    *("password=abc ", "password=123456", f"password=a,b;{S}", f"password=a)b{S}", f"password=a'{S}"),
    # in brackets and quotes
    *(f"(password={S})", f"[api_key={S}]", f"{{token={S}}}", f'"password={S}"', f"'token={S}'", f"`token={S}`"),
    *(f"Config(token={S})", f"Config(db_password={S}, lr=3)", f"(a=1,password={S},lr=3)", f"<Client token={S}>"),
    *(f'raise ValueError("bad api_key={S}")', f'"token={S}\\n"', f"Namespace(api_key='{S}', lr=0.1)"),
    # literals of programs, JSON, YAML, TOML, XML
    *(f'connect(password="{S}")', f"connect(user='x', passwd='{S}')", f'DB_PASS="{S}"  # comment'),
    *(f'{{"password": "{S}", "user": "u"}}', f"{{'token': '{S}'}}", f'{{"auth": {{"secret": "{S}"}}}}'),
    *(f'"{{\\"token\\": \\"{S}\\"}}"', f'os.environ["HF_TOKEN"] = "{S}"', f"os.environ['API_KEY']='{S}'"),
    *(f'os.environ.setdefault("WANDB_API_KEY", "{S}")', f'["login", "--token", "{S}"]', f'wandb.login(key="{S}")'),
    *(f'token: str | None = "{S}"', f'api_key: SecretStr = SecretStr("{S}")', f'password = b"{S}"'),
    *(f"password: it\\'s {S}", f'password="it\'s {S}"', f'password="a b {S}"', f'password = """{S}"""'),
    *(f'if password == "{S}":', f"api_keys = ['aaaa', '{S}']", f"<password>{S}</password>", f'token="{S}'),
    # aligned columns
    *(f"{'db_password':<24}: {S}", f"password={' ' * 9}{S}", f"password{' ' * 40}= {S}", f"password:{' ' * 40}{S}"),
    *(f"password\t\t\t=\t\t\t{S}", f"{'hf_token':<24}{S}", f"db_password\t{S}", f"{'hf_token':.<30} {S}"),
    *(f"| password   | {S} |", f"│ api_key │ {S} │", f"| 'password' | '{S}' |", f"password : str = {S}"),
    *(f"{'token':<24}: {S}", f"{'token':<24}= '{S}'", f"0  api_key{' ' * 10}{S}  more"),
    # options and headers
    *(f"login --token {S}", f"--password {S} --lr 3", f"--api-key '{S}'", f"--pat {S}", f"--hf_token={S}"),
    *(f"curl -u ada:{S} https://h", f'curl -H "Authorization: Bearer {S}" https://h', f"Authorization: Basic {S}=="),
    *(f"authorization: token {S}", f'{{"Authorization": "Bearer {S}"}}', f"X-Api-Key: {S}", f"Bearer {S}"),
    *(f"Cookie: a=1; session={S}", f"Set-Cookie: sid={S}; Path=/", f"headers={{'X-Auth-Token': '{S}'}}"),
    # addresses
    *(f"GET https://h/x?token={S} HTTP/1.1", f'requests.get("https://h/x?api_key={S}")', f"https://h/?a=1&sig={S}&b=2"),
    *(f"exceeded with url: /v1?api_key={S} (Caused by", f"https://h/x?key={S}", f"s3?X-Amz-Signature={S}&X=1"),
    *(f"postgres://ada:{S}@h/x", f"redis://:{S}@h:6379", f"https://{S}@h/a.git", f"mongodb+srv://u:a@{S}@h/db"),
    *(f"postgres://ada:a/{S}@h/x", f"Server=h;Password={S};Encrypt=1", f"AccountKey={S}==;EndpointSuffix=x"),
    # logins that are no URLs, and values in braces
    *(f"u:{S}@h:5432", f"db = 'u:{S}@h:5432/x'", f"u:{S}@tcp(h:3306)/db", f"Pwd={{{S};b}}", f"Server=h;Pwd={{{S};b}};"),
    *(f"jdbc:postgresql:u:{S}@h/db", f"Server=h;Pwd={{{S}}};Encrypt=1", f"passwords = {{'bob': '{S}'}}"),
    *(f'api_keys = {{"a": 3, "b": "{S}"}}', f"cookies={{'a': '', 'b': '{S}'}}", f"--secret ['{S}']", f"--key {S}"),
    *(f"--tokens {S}", f"--api_keys aaaa1111 {S}", f"secret = \"['{S}']\""),
    *(f"tokens = ['{S}', 'a']", f'hf = 1; my_tokens = ["a", "{S}"]', f'passwords = dict(ada="{S}")'),
    *(f"u:{S}@[::1]:5432", f"u:a@{S}@host:5432", f"https:///u:{S}@h", f"u:{S}@10.0.0.1:5432", f"u:{S}@localhost:99"),
    *(f"CREATE USER ada IDENTIFIED BY '{S}'", f'identified with sha256_password by "{S}"'),
    # files of Docker and shells
    *(f"ENV API_KEY {S}", f"RUN x && ENV DB_PASSWORD {S}", f"setenv HF_TOKEN {S}", f"ENV PGPASSWORD a {S}"),
    # known forms
    *(f"ghp_{S}{S}", f"x hf_{S}{S} y", f"'sk-proj-{S}-{S}'", f"(xoxb-1234567890-{S})", f"glpat-{S}{S}", f"gsk_{S}{S}"),
    *(f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{S}", f"https://hooks.slack.com/services/T000/B000/{S}"),
    *(f"-----BEGIN PRIVATE KEY-----\\n{S}\\n-----END PRIVATE KEY-----", f'"private_key": "-----BEGIN {S}"'),
]
HARMLESS = [
    *("tokens=512", "num_tokens: 5", "max_tokens=256", "loss/token 0.5", "loss/token: 0.53", "tokens/s=1023.4"),
    *("acc:0.91@epoch:12 rank:3@node1:29500", "model:best@epoch:1200", "lr:1e-4@step:5000", "rank:12@localhost:29500"),
    *("--tokens 100 data.csv", "--tokens 100000 train.csv valid.csv", "--key user_id", "--key val_loss"),
    *("--tokens data/train.parquet", "identified by a number", "IDENTIFIED BY '***'", "tokens = ['Hello', 'world7']"),
    *("--key_size 3", "tokens: 1500", "max_tokens=20", "--tokens 100", "--tokens 100 200", "--stop_tokens A B"),
    *("--keys image label", "--key 3", "ENV LR 3", "ENV API_KEY $API_KEY", "10:30:15@node1:8080", "iris:v3@latest"),
    *("python:3.11@sha256:4567", "token={}", "{'keys': {'loss': 'val_loss7'}}", "tokens = {'a': 'b1234567'}"),
    *("password_strength=0.3", "key=value", "passes=3", "author: Ada", "pad_token='<pad>'", "eos_token_id=2"),
    *("tokenizer=AutoTokenizer", "secretary: Ada Lovelace", "mask_token: [MASK]", "unk_token='unknown-word-1'"),
    *("bos_token = 'BOS_TOKEN_1'", "next_token=Paris123", "token: Hello", "{'token': 'hello'}", "token=42"),
    *("image_token='IMAGE_TOKEN_7'", "ms_per_token=0.021", "token_type_ids=tensor([[0, 0]])", "token_count: 100000"),
    *(
        "forward_pass: 0.0213s",
        "backward_pass=Finished9",
        "pass=3",
        "PASS: test_model_7",
        "PASSED=1234567",
        "bypass=True",
    ),
    *("monkey = 'chimpanzee7'", "primary_key='user_id_77'", "sort_key=column_name_1", "cache_key=abcdef123456"),
    *("keys=['accuracy', 'loss']", "num_key_value_heads=8", "key_padding_mask=tensor123", "public_key_id=abcdef12"),
    *("KeyError: 'loss_7'", "keyword=abcdef123", "password=None", "password: str", "token: Optional[str] = None"),
    *(),
    *("HF_TOKEN=$HF_TOKEN"),
    *("token=${HF_TOKEN}", 'f"token={token}"', "api_key={{ api_key }}", "password=***", "password=", 'token=""'),
    *("PWD=/home/ada/project", "OLDPWD=/srv/data1", "author=Ada", "authors: 3", "oauth_scopes=read", "auth=True"),
    *("basic classification example", "the bearer of the news", "Basic configuration finished", "cookies=None"),
    *(
        "epoch 3/100 train_loss=0.1234 val_loss=0.2",
        "lr: 1e-4, batch_size: 32",
        "https://h/a@b",
        "https://h:8080/x?y=1",
    ),
    *("docker run -u 1000:1000 image", "python -u train.py", "sklearn.linear_model", "task-specific-key-figures"),
    *("token embedding: torch.Size([50257, 768])", "Adding special tokens: 12345678", "secret sauce of the model"),
    *("invalid token: unexpected end", "assert token == expected", "std::token::value123456", "if token:", "tokens:"),
    *("index 2166bbb..45022da 100644", "commit 44c9ca961932a3ba87beb592958b63d1e7c4cbac", "def f(token, key): ..."),
    *('add_argument("--token", help="x")', '["token", "loss", "accuracy"]', "compass=north123", "passenger=12345678"),
    *("signature=inferred12", "design=abcdef12", "patience=12345678", "path=/data/train1", "pattern='*.csv'"),
    *("connection=keep-alive", "dataset_key: train_v1", "top_k=50, temperature=0.7", "distillation_token=DIST1234"),
    *(
        "context_length=131072",
        "compression=zstd1234",
        "monitor_key=val_loss1",
        "'key': 'val/loss/7'",
        "time_to_first_token: 0.13s",
    ),
]

TABLES = [
    *(
        "password      float64",
        "password      datetime64[ns]",
        "api_key    VARCHAR(255)  NOT NULL",
        "token      Hello7x",
    ),
    *("| password | 123.45K | 0.98765 |", "| password | username |", "| token    | Paris123 |", "api_key   0.98765432"),
    *("| loss/token | 0.12345678 |", "│ secret_key │ 1234567 │ object │", " 3   password   100000 non-null   object"),
    *(
        "password      1234567",
        "num_tokens               : 1234567",
        "max_tokens   |  abc12345  |",
        "password | string[python]",
    ),
    *("| epoch | loss | passes | key      |", "key          k_proj7.weight", "secret_key   precision  recall"),
    *("password........... done", "pad_token                : <pad1>", "the password.  See the manual"),
]
"""Rows of tables with a column or row of such a name, as metrics, types of columns and sizes of models are printed."""

CODE = [
    *("api_keys = {k: v for k, v in pairs}", "secrets = {a, b}", "f'Server=h;Pwd={password};'", "use --key instead"),
    *("signature = {True: 'the same', False: 'different'}", "secrets = { path = '../secrets' }"),
    *("credentials = {'user': user, 'key': key}", "password={args.password}", "api_keys = {**keys, name: key}"),
    *("password = getpass.getpass()", "token=os.environ['HF_TOKEN']", "token=token", "api_key=self.api_key"),
    *("login(token=hf_token)", "password=args.password", "secret = config.client_secret"),
]
"""No secrets in a program; on a command line they are masked, because programs get no variables there."""


def _hidden(shown: str) -> bool:
    return S not in shown and secrets.MASK in shown


LINES = [
    f"passwords = {{\n    'ada': '{S}',\n    'bob': 'x'\n}}\nmodes = {{\n    'a': 'fast'\n}}",
    f"api_keys: dict[str, str] = {{\n  # of all\n\n  'ada': '{S}',\n}}\nmodes = {{'a': 'fast'}}",
    f"passwords = dict(\n    ada='{S}',\n)\nmode = 'fast'",
    f"'passwords': [\n    '{S}',\n    'x'\n],\n'mode': 'fast'",
]


@pytest.mark.parametrize("sign", ["", "+", "-", " "])
@pytest.mark.parametrize("text", LINES)
def test_the_values_of_a_dictionary_over_lines_are_masked(text: str, sign: str) -> None:
    given = [sign + line for line in text.split("\n")]

    shown = secrets.masked_lines(given)

    assert _hidden("\n".join(shown))
    assert "'x'" not in "\n".join(shown)
    assert len(shown) == len(given)
    assert "fast" in "\n".join(shown)
    assert shown[0] == given[0]


@pytest.mark.parametrize(
    "text",
    [
        "keys = [\n  'accuracy',\n]",
        "passwords = {\n  'ada': load(),\n}\nname = 'Ada7'",
        "passwords = [\n]\nx = 'y'",
        "tokens = [\n 'a',\n]",
    ],
)
def test_ordinary_dictionaries_over_lines_stay(text: str) -> None:
    assert secrets.masked(text) == text


def test_the_lists_are_long_enough_to_mean_something() -> None:
    assert len(set(SECRETS)) >= 80
    assert len(set(HARMLESS)) >= 80


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_masked_in_a_line_of_the_console(line: str) -> None:
    assert _hidden(secrets.masked_lines([line])[0])
    assert _hidden(secrets.masked_lines([f"INFO train.py:3 {line} (done)"])[0])


@pytest.mark.parametrize("sign", ["+", "-", " ", "+    "])
@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_masked_in_a_line_of_a_diff(line: str, sign: str) -> None:
    shown = secrets.masked(f"@@ -1 +1 @@\n{sign}{line}\n unchanged")

    assert _hidden(shown)
    assert [shown.split("\n")[0], shown.split("\n")[-1]] == ["@@ -1 +1 @@", " unchanged"]
    assert shown.split("\n")[1].startswith(sign)


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_masked_on_a_command_line(line: str) -> None:
    assert _hidden(" ".join(secrets.masked_arguments(["bash", "-c", line])))
    assert _hidden(" ".join(secrets.masked_arguments(["train.py", *line.split(" ")]))) or " " in line


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_masked_in_the_message_of_an_error(line: str) -> None:
    assert _hidden(ended_after(ValueError(line)).tags["modelry.exit.error"])


@pytest.mark.parametrize("line", HARMLESS + TABLES + CODE)
def test_ordinary_output_stays_as_it_is(line: str) -> None:
    assert secrets.masked_lines([line, f"INFO {line} (done)"]) == [line, f"INFO {line} (done)"]


@pytest.mark.parametrize("line", HARMLESS + TABLES + CODE)
def test_ordinary_lines_of_a_diff_stay_as_they_are(line: str) -> None:
    text = f"+{line}\n-{line}\n {line}"

    assert secrets.masked(text) == text


@pytest.mark.parametrize("line", HARMLESS)
def test_ordinary_arguments_stay_as_they_are(line: str) -> None:
    assert secrets.masked_arguments(["train.py", line, *line.split(" ")]) == ["train.py", line, *line.split(" ")]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["-H", f"Authorization: Bearer {S}"], ["-H", "Authorization: Bearer ***"]),
        ([f"+api.key={S}", f"++db.password={S}", "~key"], ["+api.key=***", "++db.password=***", "~key"]),
        (["--pat", S, "--lr", "0.1"], ["--pat", "***", "--lr", "0.1"]),
        (["-u", f"ada:{S}", "-u", "train.py"], ["-u", "***", "-u", "train.py"]),
        ([f"--env=HF_TOKEN={S}", "-e", f"DB_PASS={S}"], ["--env=HF_TOKEN=***", "-e", "DB_PASS=***"]),
        (["--api_keys", "Aa", "Bb", "--lr", "1"], ["--api_keys", "***", "***", "--lr", "1"]),
        (["--passwords", "A", "B"], ["--passwords", "***", "***"]),
        (["--tokens", "A", "B", "-v", "C"], ["--tokens", "***", "***", "-v", "C"]),
        (["--tokens", "100", "200"], ["--tokens", "100", "200"]),
        (["--tokens", "100", "a.csv", S], ["--tokens", "100", "a.csv", "***"]),
        (["--api_keys", "a.csv", "user_id"], ["--api_keys", "***", "***"]),
        (["--passwords", "100", "a/b.csv"], ["--passwords", "***", "***"]),
        (["u:123456@db:5432", "rank:3@n:29500"], ["***@db:5432", "rank:3@n:29500"]),
        (["--hf_tokens", "a", "b"], ["--hf_tokens", "***", "***"]),
        (["--api-key", "a", "data.csv"], ["--api-key", "***", "data.csv"]),
        (["--secret", "['x']"], ["--secret", "***"]),
        (["--secrets={'a': 'x'}", "++db.passwords=[a,b]"], ["--secrets=***", "++db.passwords=***"]),
        (["--key", "x", "--key=x"], ["--key", "***", "--key=***"]),
        (["--key_size", "3", "--keys", "image", "--key", "3"], ["--key_size", "3", "--keys", "image", "--key", "3"]),
        (["Driver=X;Pwd={a;b}"], ["Driver=X;Pwd=***"]),
        ([f"--password={S} and more"], ["--password=***"]),
        (["--pad-token", "x1234567", "--token", "5"], ["--pad-token", "x1234567", "--token", "5"]),
    ],
)
def test_arguments_show_everything_but_the_secret(given: list[str], shown: list[str]) -> None:
    assert secrets.masked_arguments(given) == shown


@pytest.mark.parametrize(
    "part",
    [
        *("a", "a.", "token", "token=", "password:a[", "password=a,", 'password="\\"', "token='a b ", "token: x "),
        *(
            "://",
            "://a",
            "a://b@",
            "://a:b c",
            "eyJ-",
            "--eyJ",
            "-u ",
            "bearer ",
            "api key ",
            "--token ",
            "Authorization: ",
        ),
        *(" ", "\t", ".", "|", "password  ", "password |", "password\t: ", "password : str "),
        *(
            "password={'a':'b',",
            "'a': '',",
            "ENV API_KEY a ",
            "--api_keys a ",
            "@--api_keys ",
            "tokens=['a',",
            "u:a@b@",
            "identified by '",
            "passwords=dict(a='b',",
            "u:p@[::",
            "u:p@h:1",
            "key={",
            "password={ for  in ",
            "password={a b, }}",
            "secret={a ",
            "password={a;",
            "a:b@",
        ),
        *("cookie: a;", "password=${a", "password=['a',", "<token>", "\\", "İ token=aaaaaa1", "secret_"),
    ],
)
def test_a_long_line_takes_no_more_for_each_letter_than_a_short_one(part: str) -> None:
    def seconds(letters: int) -> float:
        line = f"password {part * (letters // len(part))}"
        begun = time.process_time()
        secrets.masked_lines([line])
        return time.process_time() - begun

    assert seconds(200_000) < max(1.0, 40 * seconds(20_000))


@pytest.mark.parametrize("between", [" ", "\t", ".", "|", " |", "= ", ": ", "\u2003"])
@pytest.mark.parametrize("before", ["password", "password:", "password : str", "login(", "| api_key |", "token "])
def test_a_megabyte_of_spaces_takes_no_long_time(before: str, between: str) -> None:
    line = before + between * (1_000_000 // len(between)) + "x"
    begun = time.process_time()

    secrets.masked_lines([line])

    assert time.process_time() - begun < 2
