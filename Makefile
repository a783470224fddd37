# make setup   .venv with everything that a machine without ROS needs (the other targets do it first)
# make demo    simulated Franka at the belt: teleoperation, then the policy; leaves demo_out/
#              ROBOT=genie1 or ROBOT=arx_lift2: their twins, run by their policies
# make test    ruff, mypy, unit tests, then tests with real ROS processes
# make bench   everything in bench/, more than an hour: the running system, faults, simulation, training; into bench/results/
# make bench-peers   lerobot in an environment of its own (8 GB): make bench runs it beside ours
# make libero  LIBERO's simulator in an environment of its own (2.1 GB), for `f1-ros libero eval`
# make train-belt   the belt policy from nothing into runs/belt; goes on where it was stopped

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LIBERO_VENV := .venv-libero
PEERS_VENV := .venv-peers
INTERFACES := $(shell find msg test/interfaces -type f)

# demo and bench: EPISODES= cubes (or tasks) for the policy in place of a minute, HEADLESS=1 no window, JSON= figures to a file,
# ENGINE= what runs the policy: auto, a name in config/engines, or a directory of `f1-ros engine build`
ROBOT ?= franka
EPISODES ?=
ENGINE ?= auto
HEADLESS ?=
JSON ?=
OUT ?= demo_out

# A sourced ROS would mix its packages with those of .venv.
unexport PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH COLCON_PREFIX_PATH
export VENV LIBERO_VENV PEERS_VENV PYTHON
export OMP_NUM_THREADS ?= 1

.PHONY: setup test lint demo bench bench-peers libero train-belt clean

setup: $(VENV)/.installed $(VENV)/.interfaces

$(VENV)/.installed: .ci/setup setup.py setup.cfg $(filter-out $(addprefix %,libero.txt libero_locked.txt peers.txt peers_locked.txt),$(wildcard .ci/requirements/*.txt))
	@.ci/setup
	@touch $@

$(VENV)/.interfaces: $(VENV)/.installed .ci/build_interfaces .ci/wheels.cmake $(INTERFACES)
	@.ci/build_interfaces
	@touch $@

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict f1_ros

# Both halves always run. Tests with real processes come one after the other, or they would steal each other's time.
test: lint
	status=0; \
	$(BIN)/pytest -q -n 2 -m "not ros" || status=$$?; \
	$(BIN)/pytest -q -m ros || status=$$?; \
	exit $$status

demo: setup
	$(BIN)/f1-ros demo --robot $(ROBOT) --engine $(ENGINE) --out $(OUT) $(if $(EPISODES),--episodes $(EPISODES)) $(if $(HEADLESS),--headless) \
	  $(if $(JSON),--json $(JSON))

bench: setup
	$(BIN)/python bench/pool.py
	$(BIN)/python bench/system.py --headless $(if $(EPISODES),--episodes $(EPISODES)) $(if $(JSON),--json $(JSON))
	$(BIN)/python bench/loader.py
	$(BIN)/python bench/training.py
	$(BIN)/python bench/synchroniser.py
	$(BIN)/python bench/camera_view.py
	$(BIN)/python bench/twins.py
	$(BIN)/python bench/limits.py
	$(BIN)/python bench/switches.py
	$(BIN)/python bench/engine.py
	$(BIN)/python bench/engine_choices.py
	$(BIN)/f1-ros faults run --json bench/results/faults.json
	for robot in franka_fr3 franka_panda genie1 genie1_simulator arx_lift2_x5 arx_lift2_acone; do \
	  $(BIN)/f1-ros robot conformance $$robot --json bench/results/conformance_$$robot.json || exit 1; done
	$(BIN)/python bench/splices.py --runs 3000
	$(BIN)/python bench/publisher.py
	$(BIN)/python bench/latency.py
	$(BIN)/python bench/reaction.py
	$(BIN)/python bench/soak.py

bench-peers: $(PEERS_VENV)/.installed

$(PEERS_VENV)/.installed: .ci/peers $(wildcard .ci/requirements/peers*.txt)
	@.ci/peers
	@touch $@

libero: $(LIBERO_VENV)/.installed

$(LIBERO_VENV)/.installed: .ci/libero $(wildcard .ci/requirements/libero*.txt)
	@.ci/libero
	@touch $@

train-belt: setup
	$(BIN)/f1-ros train belt --out runs/belt
	$(BIN)/f1-ros sim eval --policy runs/belt/policy --episodes 100 --seed 1 --belt-speed 0.08 0.30 --delay 0.15 \
	  --json runs/belt/eval.json

clean:
	rm -rf build install log demo_out .pytest_cache .mypy_cache .ruff_cache .hypothesis
