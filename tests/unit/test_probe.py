"""Python functions are tried in two processes: what is not of its arguments alone is refused, what is passes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.plan.compiled import Node
from jobs.probe import probe
from jobs.probe.probe import Probe, called, compared, operand
from jobs.product.folder import Product
from jobs.safety.problem import Problem
from tests.unit.folders import SETTINGS, changed, write

TEXT, WHOLE, LONG, REAL = "VARCHAR(2147483647)", "INT", "BIGINT", "DOUBLE"


@dataclass(frozen=True)
class Case:
    """A module of udfs/ that defines f, and how SQL calls it."""

    code: str
    types: tuple[Any, ...] = (TEXT,)
    returns: str = "STRING"
    says: str = ""
    """A part of the problem; empty of a good one."""
    vectorised: bool = False


def series(code: str, *types: str, returns: str = "DOUBLE", says: str = "") -> Case:
    return Case(
        f"import numpy as np\nimport pandas as pd\n{code}",
        types or (REAL,),
        returns,
        says,
        vectorised=True,
    )


BAD = {
    # what changes from call to call
    "a counter": Case(
        "n = 0\ndef f(x):\n    global n\n    n += 1\n    return str(n)",
        says=" when it is called again",
    ),
    "a counter in a default": Case(
        "def f(x, seen=[]):\n    seen.append(x)\n    return str(len(seen))", says=" gives '"
    ),
    "a counter of a closure": Case(
        "import itertools\ndef made():\n    c = itertools.count()\n    return lambda x: str(next(c))\nf = made()",
        says="when it is called again",
    ),
    "a cache that forgets the argument": Case(
        "seen = {}\ndef f(x):\n    return seen.setdefault(len(x or ''), x)", says="f("
    ),
    "the first call decides": Case(
        "first = []\ndef f(x):\n    first.append(x) if not first else None\n    return first[0]",
        says="in one process",
    ),
    "the previous row": Case(
        "last = None\ndef f(x):\n    global last\n    last, was = x, last\n    return was",
        says="f(",
    ),
    "a de-duplication": Case(
        "seen = set()\ndef f(x):\n    if x in seen:\n        return None\n    seen.add(x)\n    return x",
        says="again",
    ),
    "an attribute of the function": Case(
        "def f(x):\n    f.n = getattr(f, 'n', 0) + 1\n    return str(f.n % 7)",
        says="when it is called again",
    ),
    "an iterator that runs out": Case(
        "words = iter(['a', 'b'] * 50)\ndef f(x):\n    return next(words, None)",
        says="when it is called again",
    ),
    "an lru_cache over what is not equal enough": Case(
        "import functools\n@functools.lru_cache\ndef f(x):\n    return str(x)",
        (REAL,),
        says="0.0) gives",
    ),
    "a counter that changes the answer late": Case(
        "n = 0\ndef f(x):\n    global n\n    n += 1\n    return x if n < 10**6 else None",
        says="m_f{}.n was ",
    ),
    "a history that changes the answer late": Case(
        "old = []\ndef f(x):\n    old.append(x)\n    return x if len(old) < 10**6 else None",
        says="m_f{}.old was ",
    ),
    "a counter of an object": Case(
        "class C:\n    n = 0\nc = C()\ndef f(x):\n    c.n += 1\n    return x if c.n < 10**6 else None",
        says="m_f{}.c was ",
    ),
    "a counter of a function": Case(
        "def f(x, n=[0]):\n    n[0] += 1\n    return x if n[0] < 10**6 else None",
        says="m_f{}.f was ",
    ),
    "a counter of a decorator": Case(
        "def counted(g):\n    n = 0\n    def f(x):\n        nonlocal n\n        n += 1\n        return g(x)\n"
        "    return f\n@counted\ndef f(x):\n    return x",
        says="m_f{}.f was ",
    ),
    # what differs from process to process
    "hash of a text": Case(
        "def f(x):\n    return hash(x) % 1000", returns="BIGINT", says="in another"
    ),
    "the order of a set": Case(
        "def f(x):\n    return ','.join(set((x or '') + 'abcdef'))", says="in another"
    ),
    "id": Case("def f(x):\n    return id(f)", returns="BIGINT", says="in another"),
    "repr of an object": Case(
        "class C: pass\nc = C()\ndef f(x):\n    return repr(c)", says="in another"
    ),
    "the time zone of the machine": Case(
        "from datetime import datetime as d\ndef f(x):\n    return x if x is None else str(d.fromtimestamp(x % 10**9))",
        (LONG,),
        says="in another",
    ),
    "local time of C": Case(
        "import time\ndef f(x):\n    return None if x is None else time.strftime('%H', time.localtime(x % 10**9))",
        (LONG,),
        says="in another",
    ),
    "random numbers of its own": Case(
        "import random\nr = random.Random()\ndef f(x):\n    return str(r.random())", says="f("
    ),
    "random numbers that are seeded by the hash": Case(
        "import random\ndef f(x):\n    return str(random.Random(hash(x or '')).random())",
        says="in another",
    ),
    "numpy's generator": Case(
        "import numpy as np\nr = np.random.default_rng()\ndef f(x):\n    return float(r.random())",
        returns="DOUBLE",
        says="asks the operating system (os.urandom)",
    ),
    # what is asked of the world
    "random": Case(
        "import random\ndef f(x):\n    return str(random.random())",
        says="draws from the random numbers",
    ),
    "random, for one value alone": Case(
        "import random\ndef f(x):\n    return str(random.random()) if x == 'lottery 7' else x",
        says="draws from the random numbers",
    ),
    "numpy.random": Case(
        "import numpy as np\ndef f(x):\n    return float(np.random.rand())",
        returns="DOUBLE",
        says="draws from the random numbers",
    ),
    "uuid4": Case(
        "import uuid\ndef f(x):\n    return str(uuid.uuid4())",
        says="asks the operating system (os.urandom)",
    ),
    "uuid1": Case("import uuid\ndef f(x):\n    return str(uuid.uuid1())", says="reads the clock"),
    "secrets": Case(
        "import secrets\ndef f(x):\n    return secrets.token_hex(4)", says="os.urandom"
    ),
    "time.time": Case(
        "from time import time\ndef f(x):\n    return time()",
        returns="DOUBLE",
        says="reads the clock (udfs/",
    ),
    "a clock that the answer does not show": Case(
        "import datetime\ndef f(x):\n    return x if datetime.datetime.now().year > 2000 else None",
        says="reads the clock",
    ),
    "today": Case(
        "import datetime\ndef f(x):\n    return datetime.date.today()",
        returns="DATE",
        says="reads the clock",
    ),
    "pandas' clock": Case(
        "import pandas as pd\ndef f(x):\n    return str(pd.Timestamp.now())", says="reads the clock"
    ),
    "numpy's clock": Case(
        "import numpy as np\ndef f(x):\n    return str(np.datetime64('now'))", says="f("
    ),
    "a text that means now": series(
        "def f(x):\n    return pd.to_datetime(x, errors='coerce', format='mixed').dt.year.astype('float64')",
        TEXT,
        says="reads the clock",
    ),
    "a stop watch": Case(
        "import time\ndef f(x):\n    time.perf_counter()\n    return x", says="reads the clock"
    ),
    "a clock at the import": Case(
        "import time\nstart = time.time()\ndef f(x):\n    return x", says="when it is imported"
    ),
    "ctime": Case("import time\ndef f(x):\n    return time.ctime()", says="reads the clock"),
    "sleep": Case(
        "import time\ndef f(x):\n    time.sleep(100)\n    return x", says="waits (time.sleep)"
    ),
    "an environment variable": Case(
        "import os\ndef f(x):\n    return os.environ.get('MODE', 'none')",
        says="the environment variable MODE",
    ),
    "an environment variable at the import": Case(
        "import os\nmode = os.getenv('MODE')\ndef f(x):\n    return x",
        says="the environment variable MODE",
    ),
    "a file": Case(
        "def f(x):\n    with open('/etc/hostname') as h:\n        return h.read()",
        says="reads the file /etc/hostname",
    ),
    "a file, and what is wrong is kept": Case(
        "def f(x):\n    try:\n        return open('/no/such/file').read()\n    except OSError:\n        return x",
        says="reads the file /no/such/file",
    ),
    "a file at the import": Case(
        "words = open('/etc/passwd').read().split()\ndef f(x):\n    return x",
        says="reads the file /etc/passwd",
    ),
    "a file beside the module": Case(
        "from pathlib import Path\ndef f(x):\n    return (Path(__file__).parent / 'data.csv').read_text()",
        says="data.csv",
    ),
    "a file beside the module, by pkgutil": Case(
        "import pkgutil\ndef f(x):\n    return pkgutil.get_data('udfs', 'data.csv').decode()",
        says="data.csv",
    ),
    "the locale": Case(
        "import locale\ndef f(x):\n    locale.setlocale(locale.LC_ALL, '')\n    return x",
        says="setlocale",
    ),
    "whether there is a file": Case(
        "import os\ndef f(x):\n    return str(os.path.exists('/etc/hostname'))",
        says="reads the file /etc/hostname",
    ),
    "the files of a folder": Case(
        "import os\ndef f(x):\n    return str(len(os.listdir('/')))", says="reads the file /"
    ),
    "a file is written": Case(
        "def f(x):\n    open('seen.txt', 'a').write('x')\n    return x", says="writes the file"
    ),
    "a file is removed": Case(
        "import os\ndef f(x):\n    os.path.lexists('x') or os.remove('x')\n    return x",
        says="the file x",
    ),
    "the folder": Case("import os\ndef f(x):\n    return os.getcwd()", says="os.getcwd"),
    "the process": Case("import os\ndef f(x):\n    return str(os.getpid())", says="os.getpid"),
    "the host": Case(
        "import socket\ndef f(x):\n    return socket.gethostname()", says="uses the network"
    ),
    "the platform": Case(
        "import platform\ndef f(x):\n    return platform.node()",
        says="asks the operating system (platform.uname)",
    ),
    "the network": Case(
        "import urllib.request\ndef f(x):\n    try:\n        urllib.request.urlopen('http://127.0.0.1:9/', timeout=1)\n"
        "    except OSError:\n        pass\n    return x",
        says="udfs/m_f",
    ),
    "a process is started": Case(
        "import subprocess\ndef f(x):\n    return subprocess.getoutput('date')",
        says="starts a process (subprocess.Popen)",
    ),
    "a shell": Case(
        "import os\ndef f(x):\n    return str(os.system('true'))",
        says="starts a process (os.system)",
    ),
    "a thread": Case(
        "import threading\ndef f(x):\n    threading.Thread(target=print).start()\n    return x",
        says="starts a thread",
    ),
    "C's clock": Case(
        "import ctypes\ndef f(x):\n    return ctypes.CDLL(None).time(None)",
        returns="BIGINT",
        says="calls native code",
    ),
    # what only the thread has that imports or calls
    "decimal's context at the import": Case(
        "import decimal\ndecimal.getcontext().prec = 50\n"
        "def f(x):\n    return str(decimal.Decimal(1) / 3)",
        says="changes decimal's context and leaves it so when it is imported",
    ),
    "decimal's context of threads to come": Case(
        "import decimal\ndecimal.DefaultContext.rounding = decimal.ROUND_UP\ndef f(x):\n    return x",
        says="changes decimal's context and leaves it so when it is imported",
    ),
    "decimal's context in a call": Case(
        "import decimal\ndef f(x):\n    decimal.getcontext().prec = 6\n"
        "    return str(decimal.Decimal(1) / 3)",
        says="changes decimal's context and leaves it so",
    ),
    "another context of decimal's": Case(
        "import decimal\ndef f(x):\n    decimal.setcontext(decimal.BasicContext)\n    return x",
        says="changes decimal's context and leaves it so",
    ),
    "numpy's errors": Case(
        "import numpy as np\nnp.seterr(all='raise')\ndef f(x):\n    return x",
        says="changes numpy's errors (seterr) and leaves it so when it is imported",
    ),
    # what would stop the job
    "an exception": Case("def f(x):\n    return x.upper()", says="f(None) raises AttributeError"),
    "an exception, for one value alone": Case(
        "def f(x):\n    if x == 'no such shop':\n        raise KeyError(x)\n    return x",
        says="f('no such shop') raises KeyError",
    ),
    "text that is no number": Case(
        "def f(x):\n    return None if x is None else int(x)",
        returns="INT",
        says="raises ValueError",
    ),
    "sys.exit": Case("import sys\ndef f(x):\n    sys.exit(3)", says="raises SystemExit"),
    "os._exit": Case("import os\ndef f(x):\n    os._exit(0)", says="ends the process (os._exit)"),
    "too much memory": Case("def f(x):\n    return 'x' * 10**11", says="raises MemoryError"),
    "a text for a number": Case(
        "def f(x):\n    return x", returns="BIGINT", says="a str where BIGINT is declared"
    ),
    "a number for a text": Case("def f(x):\n    return 1", says="a int where STRING is declared"),
    "a float for a number": Case(
        "def f(x):\n    return None if x is None else x / 2",
        (WHOLE,),
        "BIGINT",
        "a float where BIGINT is declared",
    ),
    "too large a number": Case(
        "def f(x):\n    return None if x is None else x * 2",
        (WHOLE,),
        "INT",
        "which is too large for INT",
    ),
    "a time by another clock": Case(
        "from datetime import datetime as d, timedelta, timezone as z\n"
        "def f(x):\n    return d(2024, 6, 3, 10, tzinfo=z(timedelta(hours=2)))",
        returns="TIMESTAMP_LTZ(3)",
        says=" returns 2024-06-03 10:00:00+02:00, whose clock Flink would take for UTC's",
    ),
    "half a letter": Case("def f(x):\n    return '\\ud800'", says="which is no Unicode text"),
    "a date with a time": Case(
        "import datetime\ndef f(x):\n    return datetime.datetime(2013, 1, 1)",
        returns="DATE",
        says="a datetime.datetime where DATE is declared",
    ),
    "digits that a DECIMAL does not have": Case(
        "from decimal import Decimal\ndef f(x):\n    return Decimal(1000)",
        returns="DECIMAL(4, 2)",
        says="which DECIMAL(4, 2) cannot hold",
    ),
    "fields that a ROW does not have": Case(
        "from pyflink.common import Row\ndef f(x):\n    return Row(1)",
        returns="ROW<a INT, b INT>",
        says="1 fields",
    ),
    "other fields than a ROW has": Case(
        "from pyflink.common import Row\ndef f(x):\n    return Row(a=1, c=2)",
        returns="ROW<a INT, b INT>",
        says="a Row of other fields than ROW<`a` INT, `b` INT> has",
    ),
    "a tuple for a ROW": Case(
        "def f(x):\n    return (1, 2)",
        returns="ROW<a INT, b INT>",
        says="a tuple where ROW<`a` INT, `b` INT> is declared: return a pyflink.common.Row",
    ),
    "a dict for a ROW in an array": Case(
        "def f(x):\n    return [{'a': 1}]",
        returns="ARRAY<ROW<a INT>>",
        says="a dict where ROW<`a` INT> is declared: return a pyflink.common.Row",
    ),
    "a set for an array": Case(
        "def f(x):\n    return {1}", returns="ARRAY<INT>", says="a set where ARRAY<INT>"
    ),
    "NULL where none is declared": Case(
        "def f(x):\n    return None", returns="STRING NOT NULL", says="NULL, which"
    ),
    "a generator": Case("def f(x):\n    yield x", says="a generator where STRING is declared"),
    "too few arguments": Case(
        "def f(x, y):\n    return x", says="it is called with 1 argument: missing a required"
    ),
    "its arguments are changed": Case(
        "def f(x):\n    x and x.sort(key=str)\n    return None",
        ("ARRAY<INT>",),
        says="changes its arguments",
    ),
    # batches
    "the mean of a batch": series(
        "def f(x):\n    return x - x.mean()", "DOUBLE NOT NULL", says="in a batch of"
    ),
    "a running sum": series("def f(x):\n    return x.cumsum()", WHOLE, says="in a batch of"),
    "a rank": series("def f(x):\n    return x.rank()", WHOLE, says="in a batch of"),
    "the row before": series("def f(x):\n    return x.shift()", WHOLE, says="in a batch of"),
    "a filled gap": series("def f(x):\n    return x.ffill()", WHOLE, says="in a batch of"),
    "the number of the row": series(
        "def f(x):\n    return pd.Series(np.arange(len(x), dtype=float))", says="in a batch of"
    ),
    "a sorted batch": series("def f(x):\n    return x.sort_values()", WHOLE, says="in a batch of"),
    "codes of a batch": series(
        "def f(x):\n    return pd.Series(pd.factorize(x)[0]).astype('float64')",
        TEXT,
        says="in a batch of",
    ),
    "numbers that are floats beside a NULL": series(
        "def f(x):\n    return x.astype(str)", WHOLE, returns="STRING", says="in a batch of"
    ),
    "a shorter batch": series("def f(x):\n    return x.dropna()", says="values for"),
    "one value": series(
        "def f(x):\n    return x.sum()", says="numpy.float64 where a pandas Series is expected"
    ),
    "noise": series(
        "def f(x):\n    return x + np.random.rand(len(x))", says="draws from the random numbers"
    ),
    "a count of batches": series(
        "n = [0]\ndef f(x):\n    n[0] += 1\n    return x * 0 + n[0]", says="f("
    ),
    "a batch is changed": series(
        "def f(x):\n    x[x.isna()] = 0\n    return x", says="changes its arguments"
    ),
    "a row that raises": series(
        "def f(x):\n    return x.map(lambda v: 1 / v if v == v else 0.5)",
        says="raises ZeroDivisionError",
    ),
    "a Series for a ROW": series(
        "def f(x):\n    return x", returns="ROW<a DOUBLE>", says="a Series where ROW"
    ),
    "texts for numbers": series(
        "def f(x):\n    return x.astype(str)", returns="BIGINT", says="no BIGINT"
    ),
}
GOOD = {
    "arithmetic": Case(
        "def f(x):\n    return None if x is None else x * 100 + 7", (WHOLE,), "BIGINT"
    ),
    "an lru_cache": Case(
        "import functools\n@functools.lru_cache\ndef f(x):\n    return x and x.upper()"
    ),
    "a table": Case("shops = {'berlin': 'DE', 'paris': 'FR'}\ndef f(x):\n    return shops.get(x)"),
    "a regular expression": Case(
        "import re\nword = re.compile(r'[a-z]+')\ndef f(x):\n    return x if x is None else ' '.join(word.findall(x))"
    ),
    "a zone": Case(
        "import datetime, zoneinfo\ndef f(x):\n    if x is None:\n        return None\n    try:\n"
        "        zone = zoneinfo.ZoneInfo('Europe/Berlin')\n"
        "        return datetime.datetime.fromtimestamp(x, zone).isoformat()\n"
        "    except (ValueError, OverflowError, OSError):\n        return None",
        (LONG,),
    ),
    "a digest": Case(
        "import hashlib\ndef f(x):\n    return None if x is None else hashlib.sha256(x.encode()).hexdigest()"
    ),
    "uuid5": Case(
        "import uuid\ndef f(x):\n    return x and str(uuid.uuid5(uuid.NAMESPACE_URL, x))"
    ),
    "random numbers that its argument seeds": Case(
        "import random\ndef f(x):\n    return random.Random(x or '').randrange(100)", returns="INT"
    ),
    "JSON": Case(
        "import json\ndef f(x):\n    try:\n        return json.dumps(json.loads(x), sort_keys=True)\n"
        "    except (TypeError, ValueError, RecursionError):\n        return None"
    ),
    "a sorted set": Case("def f(x):\n    return x and ''.join(sorted(set(x)))"),
    "what is computed once": Case(
        "table = None\ndef f(x):\n    global table\n    table = table or {str(i): i for i in range(9)}\n"
        "    return table.get(x)",
        returns="INT",
    ),
    "a cache of its own": Case(
        "seen = {}\ndef f(x):\n    if x not in seen:\n        seen[x] = x and x[::-1]\n    return seen[x]"
    ),
    "a late import": Case("def f(x):\n    import colorsys, fractions\n    return x"),
    "a late import of a library": Case(
        "def f(x):\n    import numpy as np\n    return None if x is None else int(np.int64(x) // 2)",
        (WHOLE,),
        "INT",
    ),
    "a date": Case(
        "import datetime\ndef f(x):\n    return x and x.replace(day=1)", ("DATE",), "DATE"
    ),
    "strptime": Case(
        "import datetime\ndef f(x):\n    try:\n        return datetime.datetime.strptime(x, '%Y-%m-%d').date()\n"
        "    except (TypeError, ValueError):\n        return None",
        returns="DATE",
    ),
    "a time of UTC": Case(
        "from datetime import datetime as d, timezone as z\ndef f(x):\n    return d(2024, 6, 3, 10, tzinfo=z.utc)",
        returns="TIMESTAMP_LTZ(3)",
    ),
    "a context of decimal's for the call": Case(
        "import decimal\ndef f(x):\n    with decimal.localcontext() as c:\n        c.prec = 6\n"
        "        return str(decimal.Decimal(1) / 3)",
    ),
    "numpy's errors for the call": Case(
        "import numpy as np\ndef f(x):\n    with np.errstate(all='ignore'):\n        return x",
    ),
    "a decimal": Case(
        "from decimal import Decimal\ndef f(x):\n    return x and (x / 3).quantize(Decimal('0.01'))",
        ("DECIMAL(10, 2)",),
        "DECIMAL(12, 2)",
    ),
    "bytes": Case(
        "import zlib\ndef f(x):\n    return None if x is None else zlib.crc32(x)",
        ("BYTES",),
        "BIGINT",
    ),
    "an array": Case(
        "def f(x):\n    return None if x is None else [v for v in x if v]",
        ("ARRAY<INT>",),
        "ARRAY<INT>",
    ),
    "a map from a set": Case(
        "def f(x):\n    return {w: len(w) for w in set((x or '').split())}",
        returns="MAP<STRING, INT>",
    ),
    "a row": Case(
        "from pyflink.common import Row\ndef f(x, y):\n    return Row(x, y)",
        (TEXT, WHOLE),
        "ROW<a STRING, b INT>",
    ),
    "a row whose fields are named in another order": Case(
        "from pyflink.common import Row\ndef f(x, y):\n    return Row(b=y, a=x)",
        (TEXT, WHOLE),
        "ROW<a STRING, b INT>",
    ),
    "a log line and a print": Case(
        "import logging\ndef f(x):\n    print('hello')\n    logging.getLogger(__name__).warning('seen %s', x)\n"
        "    return x"
    ),
    "a constant of SQL": Case(
        "def f(x, unit):\n    return {'a': 1}[unit]",
        (TEXT, {"kind": "LITERAL", "type": "CHAR(1) NOT NULL", "value": "a"}),
        "INT",
    ),
    "a secret": Case(
        "import os\nfrom pathlib import Path\ndef f(x):\n    folder = Path(os.environ['KAPPA_SECRETS'])\n"
        "    return (folder / 'a.key').read_text() if (folder / 'a.key').is_file() else 'none'"
    ),
    "upper case of a batch": series("def f(x):\n    return x.str.upper()", TEXT, returns="STRING"),
    "a bounded batch": series(
        "def f(x):\n    return x.fillna(0).clip(0, 100).astype('float64')", WHOLE
    ),
    "a batch of rows": series(
        "def f(x, y):\n    return pd.DataFrame({'a': x, 'b': y.astype('float64')})",
        TEXT,
        WHOLE,
        returns="ROW<a STRING, b DOUBLE>",
    ),
    "a batch of times": series(
        "def f(x):\n    return x.dt.floor('h')", "TIMESTAMP_LTZ(3)", returns="TIMESTAMP_LTZ(3)"
    ),
}
ALL = {**BAD, **GOOD}


def number(name: str) -> str:
    return f"f{list(ALL).index(name)}"


def functions(udfs: Path, cases: dict[str, Case]) -> dict[str, dict[str, Any]]:
    """A package udfs with a module per case, and what product.yaml says of them."""
    udfs.mkdir(exist_ok=True)
    (udfs / "__init__.py").touch()
    for name, case in cases.items():
        (udfs / f"m_{name}.py").write_text(case.code + "\n")
    return {
        name: {"python": f"udfs.m_{name}:f", "returns": case.returns, "vectorised": case.vectorised}
        for name, case in cases.items()
    }


def product(folder: Path, wanted: dict[str, dict[str, Any]]) -> Product:
    return write(folder, settings=changed(SETTINGS, lambda s: s.update(functions=wanted)))


def plan(cases: dict[str, Case]) -> list[Node]:
    def ref(type_: Any) -> Any:
        return (
            type_
            if isinstance(type_, dict)
            else {"kind": "INPUT_REF", "inputIndex": 0, "type": type_}
        )

    calls = [
        {"kind": "CALL", "systemName": name, "operands": [ref(t) for t in case.types]}
        for name, case in cases.items()
    ]
    return [Node("calc", {"projection": calls})]


def problems_of(folder: Path, cases: dict[str, Case]) -> list[Problem]:
    """What is said of functions, each in a module of its own."""
    wanted = functions(folder / "udfs", cases)
    found = Probe(product(folder / "product", wanted), [str(folder), *sys.path])
    found.start()
    try:
        imports = found.imports()
        broken = {p.construct.split()[1] for p in imports}
        return [*imports, *found.calls(plan({n: c for n, c in cases.items() if n not in broken}))]
    finally:
        found.close()


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Problem]]:
    """What is said of every case, asked in two processes for all of them."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "udfs").mkdir()
    (folder / "udfs" / "data.csv").write_text("a\n")
    found = problems_of(folder, {number(name): case for name, case in ALL.items()})
    return {
        name: [p for p in found if p.construct.startswith(f"function {number(name)} ")]
        for name in ALL
    }


@pytest.mark.parametrize("name", BAD)
def test_refused(problems: dict[str, list[Problem]], name: str) -> None:
    found = problems[name]
    assert found, "nothing was found"
    said = BAD[name].says
    if said.startswith("f("):
        said = number(name) + said[1:]
    said = said.replace("m_f{}", f"m_{number(name)}")
    assert any(said in p.construct for p in found), [p.construct for p in found]
    assert all(
        p.file.endswith("product.yaml") and p.instead in probe._ALIKE.values() for p in found
    )


@pytest.mark.parametrize("name", GOOD)
def test_accepted(problems: dict[str, list[Problem]], name: str) -> None:
    assert problems[name] == []


# --- what does not come back, and what cannot be imported


@pytest.mark.parametrize(
    ("code", "says"),
    [
        pytest.param(
            "def f(x):\n    while x == x: pass",
            "f(None) does not end: stopped after 0.5 s of CPU",
            id="a loop",
        ),
        pytest.param(
            "def f(x):\n    while x == x:\n        try:\n            while True: pass\n        except: pass",
            "does not end",
            id="a loop that catches everything",
        ),
        pytest.param(
            "import threading\ndef f(x):\n    threading.Event().wait(100)",
            "f(None) does not end: stopped after 1 s",
            id="a wait",
        ),
        pytest.param(
            "import re\ndef f(x):\n    return str(re.match('(a+)+$', 'a' * 40 + 'b'))",
            "f(None) does not end: stopped after 0.5 s of CPU",
            id="a regular expression",
        ),
        pytest.param(
            "import os, posix\ndef f(x):\n    posix._exit(3)",
            "a call ends the process, with code 3",
            id="an exit",
        ),
        pytest.param(
            "import os, posix\nposix._exit(3)\ndef f(x): ...",
            "its import ends the process, with code 3",
            id="an exit at the import",
        ),
        pytest.param(
            "import sys\nsys.exit(3)\ndef f(x): ...",
            "its import raises SystemExit: 3",
            id="sys.exit at the import",
        ),
        pytest.param(
            "while True: pass\ndef f(x): ...",
            "its import raises LimitError: stopped after 0.5 s of CPU",
            id="a loop at the import",
        ),
        pytest.param(
            "import no_such_module\ndef f(x): ...",
            "its import raises ModuleNotFoundError",
            id="a missing module",
        ),
        pytest.param("def f(x) return x", "its import raises SyntaxError", id="no Python"),
        pytest.param(
            "print('hello')\nimport sys\nsys.stderr.write('hello')\ndef f(x): return x",
            "",
            id="output",
        ),
        pytest.param("import sys\ndef f(x):\n    return sys.stdin.read()", "", id="input"),
        pytest.param("g = 1", "udfs.m_f has no f", id="no such function"),
        pytest.param(
            "from random import random as f", "no function but a built-in", id="a function of C"
        ),
        pytest.param(
            "from random import choice as f", "no function but", id="a method of another module"
        ),
        pytest.param(
            "from textwrap import dedent as f",
            "a function of textwrap, which no release",
            id="a function of Python's",
        ),
        pytest.param("class f: pass", "no function but a class", id="a class"),
        pytest.param(
            "class C:\n    def __call__(self, x): return x\nf = C()",
            "no function but an object of class C",
            id="an object",
        ),
        pytest.param(
            "import functools, os\nf = functools.partial(os.getenv, 'A')",
            "no function but an object of class partial",
            id="a partial",
        ),
        pytest.param(
            "import functools, random\nf = functools.lru_cache(random.random)",
            "no function but",
            id="a cache",
        ),
        pytest.param("f = lambda x: x", "", id="a lambda of the module"),
    ],
)
def test_what_ends_hangs_or_is_no_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    monkeypatch.setattr(probe, "_CPU_SECONDS", 0.5)
    monkeypatch.setattr(probe, "_WALL_SECONDS", 1.0 if "wait" in code or "except" in code else 20.0)
    monkeypatch.setattr(probe, "_PATIENCE", 1.0 if "except" in code else 20.0)
    found = problems_of(tmp_path, {"f": Case(code)})
    assert [says in p.construct for p in found] == ([True] if says else []), found


def test_a_product_without_functions_starts_nothing(tmp_path: Path) -> None:
    found = Probe(product(tmp_path, {}))
    found.start()
    assert (found.imports(), found.calls([]), found._processes, found._folder) == ([], [], [], "")
    found.close()


def test_a_function_that_nothing_calls_is_only_imported(tmp_path: Path) -> None:
    wanted = functions(tmp_path / "udfs", {"f": Case("def f(x):\n    return x.no_such()")})
    found = Probe(product(tmp_path / "product", wanted), [str(tmp_path), *sys.path])
    found.start()
    try:
        assert [*found.imports(), *found.calls([])] == []
    finally:
        found.close()


def test_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    wanted = functions(tmp_path / "udfs", {"f": Case("def f(x):\n    return x")})
    with probe.probing(product(tmp_path / "product", wanted)) as found:
        found.start()
        assert list(tmp_path.glob("kappa-probe-*"))
    assert not list(tmp_path.glob("kappa-probe-*"))
    assert all(p._process.poll() is not None for p in found._processes)


def test_nothing_is_left_of_a_check_that_was_killed(tmp_path: Path) -> None:
    wanted = functions(tmp_path / "udfs", {"f": Case("def f(x):\n    return x")})
    found = Probe(product(tmp_path / "product", wanted), [str(tmp_path), *sys.path])
    found.start()
    try:
        assert found.imports() == []
        for process in found._processes:
            assert process._process.stdin is not None
            process._process.stdin.close()
        assert [process._process.wait(30) for process in found._processes] == [0, 0]
        assert not Path(found._folder).exists()
    finally:
        found.close()


# --- plans and answers


def test_each_different_call_of_a_plan_is_tried_once() -> None:
    def call(name: str, *operands: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "CALL", "systemName": name, "operands": list(operands), "type": "INT"}

    a, b = ({"kind": "INPUT_REF", "inputIndex": i, "type": "INT"} for i in (0, 1))
    inner = call("g", a)
    nodes = [
        Node(
            "calc", {"projection": [call("f", a), call("f", b), call("f", inner), call("SUM", a)]}
        ),
        Node(
            "calc",
            {"projection": [call("f", {"kind": "LITERAL", "value": 1, "type": "INT NOT NULL"})]},
        ),
    ]
    assert called(nodes, ["f", "g"]) == [
        ("f", [{"type": "INT"}]),
        ("g", [{"type": "INT"}]),
        ("f", [{"type": "INT NOT NULL", "value": 1}]),
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"kind": "INPUT_REF", "type": "BIGINT NOT NULL"}, {"type": "BIGINT NOT NULL"}),
        (
            {"kind": "INPUT_REF", "type": {"type": "TIMESTAMP_LTZ(3)", "kind": "ROWTIME"}},
            {"type": "TIMESTAMP_LTZ(3)"},
        ),
        (
            {
                "kind": "INPUT_REF",
                "type": {"type": "TIMESTAMP(3)", "nullable": False, "kind": "ROWTIME"},
            },
            {"type": "TIMESTAMP(3) NOT NULL"},
        ),
        (
            {"kind": "LITERAL", "type": "CHAR(2) NOT NULL", "value": "ab"},
            {"type": "CHAR(2) NOT NULL", "value": "ab"},
        ),
        (
            {"kind": "LITERAL", "type": "DATE NOT NULL", "value": "2013-01-01"},
            {"type": "DATE NOT NULL"},
        ),
        ({"kind": "LITERAL", "type": "NULL", "value": None}, {"type": "NULL", "value": None}),
    ],
)
def test_operands(expression: dict[str, Any], expected: dict[str, Any]) -> None:
    assert operand(expression) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"found": [], "answers": [("f(1)", "2")]}, {"found": [], "answers": [("f(1)", "2")]}, []),
        (
            {"found": [], "answers": [("f(1)", "2"), ("f(2)", "3")]},
            {"found": [], "answers": [("f(1)", "2"), ("f(2)", "4")]},
            [("processes", "f(2) gives 3 in one process, and 4 in another")],
        ),
        (
            {"found": [("raises", "a"), ("returns", "b")], "answers": [("f(1)", "2")]},
            {"found": [("raises", "c")], "answers": []},
            [("raises", "a"), ("returns", "b")],
        ),
        (
            {"found": [], "answers": [("f(1)", "2")]},
            {"found": [("outside", "a")], "answers": []},
            [("outside", "a")],
        ),
    ],
)
def test_what_two_processes_say_is_compared(
    one: dict[str, Any], other: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert compared(one, other) == expected
