# Two commands: `make book` builds the site, `make test` proves it. `make` alone lists the rest.
# Each first makes .venv if it is missing or stale. Another Python: make book PYTHON=python3.12
PYTHON ?= python3
PORT ?= 8000
RUN := .venv/bin/python

.PHONY: help venv book pdf test execute serve lab bench assignment clean

help:
	@echo "make book      build the site into _build/html (re-runs the notebooks whose code or library changed)"
	@echo "make pdf       write the whole book as one PDF with contents, _build/book.pdf (after make book)"
	@echo "make test      run everything: lint, unit tests, every notebook against its stored outputs, site, browser"
	@echo "make execute   run all notebooks again and store their outputs"
	@echo "make serve     serve the site on this machine (PORT=8000)"
	@echo "make lab       open JupyterLab on the first notebook"
	@echo "make bench     run the benchmarks; results in benchmarks/results/"
	@echo "make assignment   hand out the exercises by nbgrader (WING=splatting EXERCISES=5.1,5.4 OUT=folder)"
	@echo "make clean     remove what was built (not .venv)"

venv:
	@$(PYTHON) scripts/make_venv.py

book: venv
	@$(RUN) scripts/execute.py --stale
	@$(RUN) scripts/build_site.py
	@echo "The site is in _build/html: open _build/html/index.html in a browser, or run \`make serve\` for its live figures."

pdf: venv
	@test -f _build/html/index.html || { echo "There is no site yet: run \`make book\` first."; exit 1; }
	@$(RUN) scripts/browser.py >/dev/null
	@$(RUN) scripts/make_pdf.py

test: venv
	@$(RUN) scripts/gate.py

execute: venv
	@$(RUN) scripts/execute.py
	@echo "The notebooks in notebooks/ hold the new outputs: \`git diff --stat notebooks\` shows what changed, \`make book\` shows them."

serve: venv
	@test -f _build/html/index.html || { echo "There is no site yet: run \`make book\` first."; exit 1; }
	@echo "The site is at http://127.0.0.1:$(PORT)/ : open it in a browser. Ctrl-C stops the server."
	@$(RUN) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

lab: venv
	@echo "JupyterLab opens on the first notebook. Ctrl-C twice stops it."
	@OMP_WAIT_POLICY=$${OMP_WAIT_POLICY:-passive} $(RUN) -m jupyterlab notebooks/splatting/1_idea.ipynb

bench: venv
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(RUN) $$file || exit 1; done
	@echo "The results are in benchmarks/results/, one JSON for each benchmark and machine. The pages keep the figures of the machine"
	@echo "that benchmarks/_results.py names; the page on the kernels lists all machines."

assignment: venv
	@$(RUN) scripts/exercises.py --assignment $(if $(OUT),--out "$(OUT)") $(if $(EXERCISES),--only "$(EXERCISES)") $(WING)

clean:
	rm -rf _build .mypy_cache .ruff_cache .pytest_cache
	@echo "What was built is gone; .venv and the stored notebooks are as they were."
