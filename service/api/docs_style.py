"""What the page that describes the interface adds to the looks of all pages."""

from typing import Final

DOCS_STYLE: Final = """
:root{--get:#0b6e6e;--post:#8a4b08;--tint:#eef2f5;--mark-tint:#e3f1f0}
@media (prefers-color-scheme:dark){:root{--get:#5cc8c0;--post:#e8b06a;--tint:#222c36;--mark-tint:#173434}}
html{scroll-padding-top:1.5rem}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem}
.docs{display:grid;grid-template-columns:19rem minmax(0,1fr);max-width:84rem;margin:0 auto}
nav{position:sticky;top:0;height:100vh;overflow-y:auto;padding:2rem 1rem 3rem 1.5rem;border-right:1px solid var(--line);
font-size:.875rem;line-height:1.4;scrollbar-width:thin}
nav .name{font-size:1.15rem;font-weight:700;margin:0 0 .6rem;color:var(--ink)}
nav .name small{font-weight:400;color:var(--soft);font-size:.8rem}
nav h2{font-size:.75rem;letter-spacing:.04em;margin:1.4rem 0 .3rem}
nav ol{list-style:none;padding:0;margin:0}
nav li{margin:0}
nav a{display:flex;gap:.5rem;align-items:baseline;color:inherit;text-decoration:none;padding:.22rem .4rem;border-radius:6px}
nav h2 a{color:var(--soft);padding-left:.4rem}
nav a:hover{background:var(--tint)}
nav .method{flex:none;width:2.3rem;font-size:.66rem}
.docs main{max-width:60rem;padding:3rem 2.5rem 6rem;margin:0}
main>section>h2{font-size:1.4rem;color:var(--ink);margin:4rem 0 .25rem;padding-bottom:.4rem;border-bottom:1px solid var(--line)}
main>section>h2+p{color:var(--soft)}
article{margin:2.5rem 0 3.5rem}
h3{font-size:1.15rem;line-height:1.3;margin:0 0 .5rem}
h3 a{color:inherit;text-decoration:none}
h3 a:hover{text-decoration:underline}
article:target h3{border-left:3px solid var(--mark);padding-left:.7rem;margin-left:-.85rem}
h4{font-size:.85rem;color:var(--soft);margin:1.5rem 0 .4rem}
.method{font:700 .8rem/1 ui-monospace,"SF Mono",Menlo,Consolas,monospace;color:var(--get)}
.method.post{color:var(--post)}
.call{display:flex;flex-wrap:wrap;gap:.7rem;align-items:baseline;background:var(--card);border:1px solid var(--line);
border-radius:10px;padding:.55rem .9rem;margin:.5rem 0}
.call code{font-size:.95rem;overflow-wrap:anywhere}
.who{font-size:.85rem;color:var(--soft);display:flex;flex-wrap:wrap;gap:.4rem;align-items:center}
.pill{background:var(--mark-tint);color:var(--mark);border-radius:99px;padding:.05rem .65rem;font-size:.8rem}
.pill.open{background:var(--tint);color:var(--soft)}
.intro p{max-width:46rem}
article>p:not(.call,.who){max-width:46rem}
table{font-size:.875rem;line-height:1.5;margin:.3rem 0;table-layout:fixed}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.75rem;padding:.45rem .9rem;background:var(--tint)}
th:first-child{border-top-left-radius:9px;width:27%}th:last-child{border-top-right-radius:9px}
th:nth-child(2){width:15%}th:nth-child(3){width:24%}
tbody tr:first-child td{border-top:1px solid var(--line)}
td{overflow-wrap:anywhere}
td code{font-size:.85em}
td:first-child code{font-weight:600}
td .within{color:var(--soft);font-weight:400}
td small{display:block;color:var(--soft);font-size:.75rem}
td small b{color:var(--bad);font-weight:600}
td.limits{color:var(--soft)}
td.limits>div+div{margin-top:.15rem}
td.limits code{color:var(--ink)}
dl.statuses{grid-template-columns:3.2rem 1fr;font-size:.9rem;gap:.35rem .8rem}
dl.statuses dt{font-variant-numeric:tabular-nums;color:var(--mark)}
dl.statuses.bad{grid-template-columns:3.2rem 1fr 3.2rem 1fr}
dl.statuses.bad dt{color:var(--bad)}
dl.statuses.bad a{color:inherit;text-decoration-color:var(--line);margin-right:.9rem;white-space:nowrap;display:inline-block}
dl.statuses.bad a:hover{text-decoration-color:currentColor}
pre{font-size:.82rem;line-height:1.6}
pre code{font-size:inherit}
pre.command{user-select:all;-webkit-user-select:all}
.next{font-size:.9rem}
.next a{margin-right:.9rem;display:inline-block}
details summary{cursor:pointer;color:var(--mark)}
article>details{margin:.8rem 0;font-size:.9rem}
@media (max-width:60rem){
.docs{display:block}
nav{position:static;height:auto;border-right:0;border-bottom:1px solid var(--line);padding:1.25rem}
nav ol{display:none}
nav h2,nav .plain{display:inline-block;margin:0 .3rem 0 0;font-size:.85rem;letter-spacing:0}
.docs main{padding:1.5rem 1.25rem 4rem}}
@media (max-width:44rem){
dl.statuses,dl.statuses.bad{grid-template-columns:3.2rem 1fr}
thead{display:none}
table,tbody,tr,td{display:block;width:auto}
tr{border-top:1px solid var(--line);padding:.55rem .9rem}
tbody tr:first-child{border-top:0}
td,tbody tr:first-child td{border:0;padding:.05rem 0}
td:empty{display:none}}
@media print{nav{display:none}.docs{display:block}pre{white-space:pre-wrap}article{break-inside:avoid-page}}
""".strip()
