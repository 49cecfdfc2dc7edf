# Thin names for ./run; see its docstring.
.PHONY: run test lint bench
run:
	./run
test:
	./run test $(ARGS)
lint:
	./run test -n0 tests/test_quality.py tests/test_architecture.py
bench:
	./run bench $(NAME)
