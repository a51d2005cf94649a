import sys; sys.argv=["",sys.argv[1],"1"]
src=open("probe_tmp.py").read().split('D=Path(')[0]; exec(src)
from training.mixture import *; from training.mixture import _many_terms,_substitution,_products,_large
D=Path("/work/model2/data-fresh")
R=Random(5)
from collections import Counter
def first_bad(q,tx):
    e=[t for t in work.write(q.equation,Random(0),divide=False).split()]; t=tx.split()
    for i,(a,b) in enumerate(zip(e,t)):
        if a!=b: return i,e[max(0,i-3):i+3],t[max(0,i-3):i+3]
    return None
qs=[Question(parse(p.question).with_integers()) for p in data.read(data.split_file(D,"more-terms"))[:12]]
for q in qs:
    tx=decode([prompt.write_digits(q.equation)])[0]; print(first_bad(q,tx))
for f in (_many_terms,_substitution,_products):
    print(f.__name__)
    for _ in range(12):
        q=f(R)
        try: tx=decode([prompt.write_digits(q.equation)])[0]; print(first_bad(q,tx))
        except ValueError: pass
