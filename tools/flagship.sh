#!/bin/sh
# Trains the model that ships, from data to bundle: three trainings on one another, seeded, then calibration and int8.
#
#     sh tools/flagship.sh data/fer2013 [THREADS]
#
# Stopped or killed, the same command goes on after the last epoch; what is finished is not done again. Runs go into
# runs/, the bundle into bundles/ of the folder where it is called. THREADS are all cores by default.
set -eu
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: sh tools/flagship.sh DATA [THREADS]" >&2
    exit 2
fi
data=$1 threads=${2:-0}

stage() {
    run=$1
    shift
    if [ -e "runs/$run/recipe.json" ]; then set -- --resume; fi
    fer-edge train --data "$data" "$@" --threads "$threads" --out "runs/$run"
}

# From nothing: most epochs on faces of 32 px, then at 48.
stage flagship --recipe flagship
# Again from a high rate, half of the faces with a sensor's noise: no better, far less harmed by it.
stage flagship-2 --recipe flagship --start runs/flagship --epochs 20 --learning-rate 0.03 --set fall_epochs=14 \
    --set warmup_epochs=1 --set small_epochs=0 --set noise=0.05
# From the mean of both at a low rate, with the copies of test images in Training, too.
stage flagship-3 --recipe flagship --start runs/flagship,runs/flagship-2 --epochs 16 --schedule cosine \
    --learning-rate 0.01 --set warmup_epochs=0 --set small_epochs=0 --set noise=0.05 --set validation=apart --seed 1

if [ -e calibration.json ]; then
    echo "calibration.json is here already and is taken; delete it to draw another"
else
    fer-edge calibrate --data "$data" --count 512 --seed 0 --out calibration.json
fi
if [ -e bundles/flagship/bundle.json ]; then
    echo "bundles/flagship is here already and stays; delete it to convert runs/flagship-3 again"
else
    fer-edge convert runs/flagship-3 --int8 --calibration calibration.json --out bundles/flagship
fi
