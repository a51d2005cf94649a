import sys,time
from collections import Counter
from pathlib import Path
from random import Random
from engine.bundle import load_manifest
from engine.ort import OrtModel, OrtEngine
from engine.tokens import TextCodec
from engine.contracts import Prompt
from equations import work, prompt
from training import mixture, data
from training.mixture import _MIXTURE, Question
from equations.parser import parse
B=Path(sys.argv[1]); N=int(sys.argv[2]); seed=int(sys.argv[3]) if len(sys.argv)>3 else 12345
m=load_manifest(B); codec=TextCodec(B/"tokenizer.json"); model=OrtModel(B,m,threads=1); eng=OrtEngine(model,rows=64)
def decode(prompts):
    out={}; todo=list(enumerate(prompts))[::-1]
    while todo or eng.active:
        batch={}
        while todo and eng.active+len(batch)<eng.rows: i,p=todo.pop(); batch[i]=Prompt(codec.encode(p))
        if batch: eng.join(batch)
        for k,h in eng.step().items(): out[k]=codec.decode(h.tokens)
    return [out[i] for i in range(len(prompts))]
def judge(name,qs):
    ps=[(prompt.SUMS+" " if not q.divide else "")+prompt.write_digits(q.equation) for q in qs]
    t=time.time(); texts=decode(ps); ok=0; why=Counter(); ex=[]
    for q,tx in zip(qs,texts):
        w=work.read(tx); net=q.equation.net(); s=q.equation.solution()
        if w.coefficient!=net.coefficient: r="coef"
        elif w.constant!=-net.constant: r="const"
        elif q.divide and s is not None and w.answer!=str(s): r="div"
        else: r="ok"
        why[r]+=1
        if r!="ok" and len(ex)<2: ex.append((work.render(q.equation) if hasattr(work,'render') else '',str(s),tx[-120:]))
    print(f"{name:20} {100*why['ok']/len(qs):6.2f}%  {dict(why)} tok {sum(len(t.split()) for t in texts)/len(texts):.1f} {len(qs)/(time.time()-t):.0f}/s",flush=True)
    return ex
D=Path("/work/model2/data-fresh")
for s in ("interpolate","hard","beyond-11","beyond-12","more-terms"):
    ps=data.read(data.split_file(D,s))[:2*N]
    qs=[]
    for p in ps:
        e=parse(p.question).with_integers()
        try: prompt.write_digits(e); qs.append(Question(e))
        except ValueError: pass
    judge(s,qs)
r=Random(seed)
for f,_ in _MIXTURE:
    qs=[]
    while len(qs)<N:
        q=f(r)
        try: prompt.write_digits(q.equation); work.write(q.equation,r,divide=q.divide); qs.append(q)
        except ValueError: pass
    ex=judge(f.__name__,qs)
    if len(sys.argv)>4: [print("    ",e) for e in ex]
