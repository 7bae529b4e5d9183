"""Addresses with passwords: shown, and given to programs, without them."""

from __future__ import annotations

import netrc
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls

PLAIN = "https://mirror.example:8443/conda/python-3.11.7-0.conda#00\n"


def test_passwords_of_addresses_go_to_a_netrc_that_python_reads(tmp_path):
    text = PLAIN.replace("://", "://reader:p%40ss:%2Fword@")
    bare, said = urls.to_netrc(f"@EXPLICIT\n{text}{text}")
    assert bare == f"@EXPLICIT\n{PLAIN}{PLAIN}"
    (tmp_path / "netrc").write_text(said)
    found = netrc.netrc(tmp_path / "netrc").authenticators("mirror.example")
    assert (found[0], found[2]) == ("reader", "p@ss:/word")


def test_addresses_without_a_password_stay_and_need_no_netrc():
    assert urls.to_netrc(PLAIN) == (PLAIN, "")


@pytest.mark.parametrize("user", ["token", "reader:a%20b", "reader:a%22b", "reader:a%5Cb"])
def test_what_a_netrc_cannot_say_stays_in_the_address(user):
    text = PLAIN.replace("://", f"://{user}@")
    assert urls.to_netrc(text) == (text, "")


def test_a_second_user_of_a_host_stays_in_the_address():
    first, second = (PLAIN.replace("://", f"://{user}:word@") for user in ("one", "two"))
    bare, said = urls.to_netrc(first + second)
    assert bare == PLAIN + second
    assert said == "machine mirror.example login one password word\n"


@pytest.mark.parametrize(
    ("address", "shown", "secrets"),
    [
        ("https://u:secret@h/x", "https://***@h/x", {"secret"}),
        ("https://u:p@ss@h:8443/x", "https://***@h:8443/x", {"p@ss"}),
        ("https://u:p%40ss@h/x", "https://***@h/x", {"p%40ss", "p@ss"}),
        ("https://u:p:w@h", "https://***@h", {"p:w"}),
        ("https://u:hunt\"er22@h/", "https://***@h/", {"hunt\"er22"}),
        ("https://token@h/x", "https://***@h/x", {"token"}),
        ("http://u:s@[2001:db8::1]:80/", "http://***@[2001:db8::1]:80/", {"s"}),
        ("https://h/t/tk-123/c/x", "https://h/t/***/c/x", {"tk-123"}),
        ("https://h/x?token=abc&v=1", "https://h/x?token=***&v=1", {"abc"}),
        ("https://h/x?v=1&X-Amz-Signature=ab%2Fc", "https://h/x?v=1&X-Amz-Signature=***",
         {"ab%2Fc", "ab/c"}),
        ("https://h/x?api_key=k;a=b", "https://h/x?api_key=***;a=b", {"k"}),
        ("socks5://u:s@h:1080", "socks5://***@h:1080", {"s"}),
        # A user's name with an '@', as of an account by its mail address.
        ("https://jane@acme.example:PW@h/x", "https://***@h/x", {"PW"}),
        ("https://jane@acme.example:P@W@h:8443/x", "https://***@h:8443/x", {"P@W"}),
        ("https://jane@acme.example@h/x", "https://***@h/x", {"jane@acme.example"}),
        # What ought to be quoted and is not.
        ("https://bot:p/w@h/simple", "https://***@h/simple", {"p/w"}),
        ("https://bot:p#w?x@h/simple", "https://***@h/simple", {"p#w?x"}),
        # Without a scheme, as variables and options name a proxy.
        ("bot:pw@proxy.example:3128", "***@proxy.example:3128", {"pw"}),
        ("see //bot:pw@h.example/x", "see //***@h.example/x", {"pw"}),
        ("--proxy=jane@acme.example:pw@proxy:3128", "--proxy=***@proxy:3128", {"pw"}),
        # Lines of requirements, from version control.
        ("git+https://x-access-token:ghs_abc@github.com/a/b@v1#egg=b",
         "git+https://***@github.com/a/b@v1#egg=b", {"ghs_abc"}),
        ("app@git+https://glpat-abc@gitlab.example/a/b.git", "app@git+https://***@gitlab.example/a/b.git",
         {"glpat-abc"}),
        ("git+https://h/a/b?private_token=abc@v1", "git+https://h/a/b?private_token=***",
         {"abc@v1"}),
        ("https://h/b.whl#access_token=abc", "https://h/b.whl#access_token=***", {"abc"}),
        # Tokens in the path.
        ("https://conda.anaconda.org/t/tk-123", "https://conda.anaconda.org/t/***", {"tk-123"}),
        ("https://repo.example/conda/t/tk-123/c/noarch", "https://repo.example/conda/t/***/c/noarch",
         {"tk-123"}),
        ("https://pypi.fury.io/1aBcD/acme/", "https://pypi.fury.io/***/acme/", {"1aBcD"}),
        ("https://repo.fury.io/1aBcD/acme/x.whl", "https://repo.fury.io/***/acme/x.whl", {"1aBcD"}),
        ("https://dl.cloudsmith.io/1aBcD/acme/repo/python/simple/",
         "https://dl.cloudsmith.io/***/acme/repo/python/simple/", {"1aBcD"}),
        ("https://packagecloud.io/priv/1aBcD/acme/r/pypi/simple",
         "https://packagecloud.io/priv/***/acme/r/pypi/simple", {"1aBcD"}),
        ("https://mirror.example/ghp_0123456789abcdef0123/x", "https://mirror.example/***/x",
         {"ghp_0123456789abcdef0123"}),
        # As urllib3 tells of what it could not fetch.
        ("url: /t/tk-123/c/repodata.json", "url: /t/***/c/repodata.json", {"tk-123"}),
        # Quoted once more, within another address.
        ("https://h/go?to=https%3A%2F%2Fbot%3Apw%40m%2Fx", "https://h/go?to=https%3A%2F%2F***%40m%2Fx",
         {"pw"}),
        # As JSON may write a slash, and as people mistype it.
        (r"https:\/\/u:secret@h\/x", r"https:\/\/***@h\/x", {"secret"}),
        (r"https:\/\/token@h\/x@y", r"https:\/\/***@h\/x@y", {"token"}),
        ("https:/u:secret@h/x", "https:/***@h/x", {"secret"}),
        ("https://h/x?jwt=ab.cd.ef", "https://h/x?jwt=***", {"ab.cd.ef"}),
        # As programs tell of what they asked for.
        ("> Authorization: Basic dTpw", "> Authorization: Basic ***", {"dTpw"}),
        ("proxy-authorization: Bearer ab.cd", "proxy-authorization: Bearer ***", {"ab.cd"}),
        ("{'Authorization': 'token abc'}", "{'Authorization': 'token ***'}", {"abc"}),
        ("{'authorization': b'abc'}", "{'authorization': b'***'}", {"abc"}),
        ("PRIVATE-TOKEN: abc", "PRIVATE-TOKEN: ***", {"abc"}),
        ("X-JFrog-Art-Api: abc", "X-JFrog-Art-Api: ***", {"abc"}),
        ("Cookie: session=abc; csrf=def", "Cookie: ***", {"session=abc; csrf=def"}),
        ("{'set-cookie': 'session=abc'}", "{'set-cookie': '***'}", {"session=abc"}),
        # As a netrc has it, of which a parser quotes lines.
        ("machine h login jane password abc", "machine h login jane password ***", {"abc"}),
        # No secret: nothing is lost.
        ("no cookie: none came", "no cookie: none came", set()),
        ("login with a password", "login with a password", set()),
        ("authorization is asked for", "authorization is asked for", set()),
        ("leave Authorization out: it", "leave Authorization out: it", set()),
        ("X-Forwarded-Proto: https", "X-Forwarded-Proto: https", set()),
        ("file:/srv/a:b@c", "file:/srv/a:b@c", set()),
        (r"C:\/\/x", r"C:\/\/x", set()),
        ("https://h:8080/a@b/c:d@e", "https://h:8080/a@b/c:d@e", set()),
        ("http://[2001:db8::1]:80/a@b", "http://[2001:db8::1]:80/a@b", set()),
        ("/srv/t/releases/0123456789ab", "/srv/t/releases/0123456789ab", set()),
        ("https://pypi.fury.io/acme/", "https://pypi.fury.io/acme/", set()),
        ("https://pypi.fury.io/acme/-/v/x.whl", "https://pypi.fury.io/acme/-/v/x.whl", set()),
        ("https://dl.cloudsmith.io/public/a/r/", "https://dl.cloudsmith.io/public/a/r/", set()),
        ("git@github.com:acme/app.git@v1", "git@github.com:acme/app.git@v1", set()),
        ("web@1.2:8000 -> 0.0.0.0:8000", "web@1.2:8000 -> 0.0.0.0:8000", set()),
        ("https://h/a@b/t/", "https://h/a@b/t/", set()),
        ("https://h/t", "https://h/t", set()),
        ("mail me@example.com at https://h/x", "mail me@example.com at https://h/x", set()),
        ("https://h/x?version=1#frag@x", "https://h/x?version=1#frag@x", set()),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_secrets(address, shown, secrets):
    text = f'fetch "{address}" and {address} please'
    assert urls.shown(text) == f'fetch "{shown}" and {shown} please'
    assert urls.passwords(text) == secrets
    assert urls.has_password(text) is bool(secrets)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # As variables, settings and strings of connections have them.
        ("password=hunter2", "password=***"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
        ("--setenv=MYSQL_PWD=hunter2", "--setenv=MYSQL_PWD=***"),
        ("export DB_PASS=hunter2", "export DB_PASS=***"),
        ("host=db user=jane password=hunter2 port=1", "host=db user=jane password=*** port=1"),
        ("Server=db;Uid=sa;Pwd=hunter2;Encrypt=yes", "Server=db;Uid=sa;Pwd=***;Encrypt=yes"),
        ("AccountName=a;AccountKey=aB3+/==;Suffix=x", "AccountName=a;AccountKey=***;Suffix=x"),
        ("password=a,b;c&d}e, next", "password=***, next"),
        ("{password: a}b}, next", "{password: ***}, next"),
        ("user=jane,password=hunter2,host=db", "user=jane,password=***,host=db"),
        ("aws_secret_access_key = wJalr/XUtn+FEMI", "aws_secret_access_key = ***"),
        ("//registry.example/:_authToken=abc", "//registry.example/:_authToken=***"),
        ("_auth=dTpw", "_auth=***"),
        ("connect(password='hunt er2', port=1)", "connect(password='***', port=1)"),
        ('password="hunt \\"er2" x', 'password="***" x'),
        (":password=>hunter2", ":password=>***"),
        ("spring.datasource.password=hunter2", "spring.datasource.password=***"),
        ("client_secret=hunter2&grant_type=x", "client_secret=***&grant_type=x"),
        # As YAML, JSON, and Python have them.
        ("password: hunter2", "password: ***"),
        ("token: abc", "token: ***"),
        ("token:abc", "token:***"),
        ("+db_password: hunter2", "+db_password: ***"),
        ("user: jane password: hunter2 host: db", "user: jane password: *** host: db"),
        ("password: hunter2 was refused", "password: *** was refused"),
        ('{"password": "hunter2", "x": 1}', '{"password": "***", "x": 1}'),
        ('{"apiKey":"hunter2"}', '{"apiKey":"***"}'),
        ("{'access_token': b'hunter2'}", "{'access_token': b'***'}"),
        (r'"{\"token\": \"hunter2\", \"x\": 1}"', r'"{\"token\": \"***\", \"x\": 1}"'),
        ('"pin_token": 12345678', '"pin_token": ***'),
        ("passphrase: hunter2", "passphrase: ***"),
        ('print(f"x", token=f"hunter2")', 'print(f"x", token=f"***")'),
        # As options of programs.
        ("curl --token hunter2 x", "curl --token *** x"),
        ("x --http-password hunter2", "x --http-password ***"),
        ("x --password='hunt er2' y", "x --password='***' y"),
        ("x --api-key 'hunt er2' y", "x --api-key '***' y"),
        ("java -Ddb.password=hunter2", "java -Ddb.password=***"),
        ("sshpass -p hunter2 ssh x", "sshpass -p *** ssh x"),
        ("curl -sS -u jane:hunter2 https://h/", "curl -sS -u *** https://h/"),
        ("curl --proxy-user jane:hunter2 https://h/", "curl --proxy-user *** https://h/"),
        ("CREATE USER x IDENTIFIED BY 'hunter2'", "CREATE USER x IDENTIFIED BY '***'"),
        ("ALTER ROLE x WITH PASSWORD 'hunter2';", "ALTER ROLE x WITH PASSWORD '***';"),
        # What tells itself by how it begins.
        ("Bearer ab12cd34ef56ab12cd34", "Bearer ***"),
        ("sent Basic dXNlcjpodW50ZXIy== to h", "sent Basic *** to h"),
        ("key AKIAIOSFODNN7EXAMPLE is", "key *** is"),
        ("ASIAIOSFODNN7EXAMPLE", "***"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "got ***"),
        ("xoxb-123456789012-abcdef", "***"),
        ("sk-proj-0123456789abcdefABCDEF", "***"),
        ("nvapi-0123456789abcdefABCDEF", "***"),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "***"),
        ("npm_0123456789abcdefghijABCDEFGHIJ012345", "***"),
        ("dckr_pat_0123456789abcdefghij", "***"),
        ("hvs.0123456789abcdefghijkl", "***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nx",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----\nx",
        ),
        # No value, or one that is no secret: nothing is lost.
        *(
            (text, text)
            for text in (
                "password authentication failed for user jane",
                "token=",
                "token= user=jane",
                "password: ",
                'password=""',
                '{"token": "", "password": null}',
                "password=None, token=null",
                "Access denied for user 'root'@'h' (using password: YES)",
                "password: too short",
                "password: must not be empty",
                "token: expired",
                "passwd: Authentication token manipulation error",
                "invalid password: it has no digit",
                "/etc/passwd: no such file",
                "password_file: /etc/gpunode/x",
                "private_key: /etc/ssl/private/x.pem",
                "vgpu_license_token: /srv/x.tok: there is no such file",
                "PWD=/root OLDPWD=/srv",
                "max_tokens=512 tokens: 7 tokenizer=bpe token_count=3",
                "pad_token=<pad> eos_token: </s>, bos_token=7",
                "SyntaxError: unexpected token: }",
                "unexpected token: name",
                "if password == other and token != x:",
                "def login(password: str, token: bytes = b''):",
                'logger.info("token: %s", value)',
                "token = get_token(user)",
                "token = os.environ['TOKEN']",
                "secret: whether it is one",
                "vgpu_license_token: client_configuration_token_1.tok",
                "API_TOKEN: !vault |",
                "password=<redacted> token={{ token }} secret=***",
                '{"password": {"type": "string"}, "required": ["token"]}',
                "use --password-stdin, or --token to say it",
                "x --password --token",
                "the key: value of an option",
                "public_key=abc primary_key: 7 key=abc",
                "pass: 7 fail: 0, passed=7 bypass=yes",
                "secretary: Jane; the secret is out",
                "Bearer authentication is asked for",
                "basic setup of the bearer",
                "docker run -u 1000:1000 x",
                "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
                "sk-learn task-queue-of-0123456789abcdef",
                "the driver token::Kind of src/token:12",
                "gpgkey=https://h/key.asc signing key https://h/x: of another",
            )
        ),
    ],
)  # fmt: skip
def test_a_text_is_shown_without_what_it_calls_a_secret(text, shown):
    assert urls.shown(text) == shown
    assert urls.shown(shown) == shown
    assert urls.shown(f"see {text}\nnext") == f"see {shown}\nnext"


def test_what_is_called_a_secret_is_no_address_with_one():
    assert not urls.has_password("password=hunter2")
    assert urls.passwords("password=hunter2 https://u:pw@h/") == {"pw"}


@pytest.mark.parametrize(
    "part",
    [
        "password=",
        "password=a",
        "password: ",
        "--token ",
        "a_token: '",
        "a.password-",
        "curl -u a",
        "-----BEGIN PRIVATE KEY-----",
        "eyJaaaaaaaaaa.",
        "bearer a",
        "://",
        "%3A%2F%2F",
        "://a@",
        "://a:b",
        "/t/",
        "a.a:",
        ",a:b",
        "?token",
        "authorization:",
        "cookie: a=a; ",
        "login a password ",
        "x-a-key:",
        "https:/a:",
    ],
)
def test_a_long_answer_of_a_host_is_read_in_a_moment(part):
    begin = time.process_time()
    urls.shown(part * 20_000)
    assert time.process_time() - begin < 3


_WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#\"' "))


@given(_WORD, _WORD.filter(lambda word: len(word) > 3))
def test_no_password_however_odd_is_shown(user, password):
    user = user.replace(":", "").replace("@", "")
    text = urls.shown(f"see https://{user}:{password}@mirror.example/c and go on")
    assert text == "see https://***@mirror.example/c and go on"


_ODD = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=",;&\"'"))


@given(st.sampled_from(["PGPASSWORD=", "--token=", "x.password=", "api_key="]), _ODD)
def test_no_secret_that_is_called_one_is_shown_however_odd(name, secret):
    # Not what is a place to fill, or a path; and what ends a dict is none of it.
    secret = f"Zx9{secret}9"
    assert urls.shown(f"see {name}{secret} and go on") == f"see {name}*** and go on"
    assert urls.shown(f'see {name}"{secret}" and go on') == f'see {name}"***" and go on'


@given(st.text(st.sampled_from("pasword:=\"'\\ -_\ntken{}(),/*a1")), st.text(max_size=20))
def test_what_was_masked_stays_as_it_is(text, more):
    masked = urls.shown(f"{text}password={more} token: {text}")
    assert urls.shown(masked) == masked
