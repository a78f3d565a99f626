#!/bin/sh
# Trains one of the two models that ship, from data to bundle: trainings on one another, seeded, then calibration, int8.
#
#     sh tools/shipped.sh flagship|tiny data/fer2013 [THREADS]
#
# Stopped or killed, the same command goes on after the last epoch; what is finished is not done again. Runs go into
# runs/, the bundle into bundles/ of the folder where it is called. THREADS are all cores by default.
set -eu
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: sh tools/shipped.sh flagship|tiny DATA [THREADS]" >&2
    exit 2
fi
model=$1 data=$2 threads=${3:-0}
case $model in
flagship | tiny) ;;
*)
    echo "shipped.sh: what ships is flagship and tiny, not $model" >&2
    exit 2
    ;;
esac

stage() {
    run=$1
    shift
    if [ -e "runs/$run/recipe.json" ]; then set -- --resume; fi
    fer-edge train --data "$data" "$@" --threads "$threads" --out "runs/$run"
}

# A low rate from the mean of two runs, half of the faces with a sensor's noise, test images' copies in Training, too.
last() {
    stage "$@" --epochs 16 --schedule cosine --learning-rate 0.01 --set warmup_epochs=0 --set small_epochs=0 \
        --set noise=0.05 --set validation=apart --seed 1
}

# The flagship without a teacher: from nothing, most epochs on faces of 32 px; again from a high rate, with noise, which
# is no better but far less harmed by it; and the last from the mean of both.
untaught_flagship() {
    stage flagship --recipe flagship
    stage flagship-2 --recipe flagship --start runs/flagship --epochs 20 --learning-rate 0.03 --set fall_epochs=14 \
        --set warmup_epochs=1 --set small_epochs=0 --set noise=0.05
    last flagship-3 --recipe flagship --start runs/flagship,runs/flagship-2
}

# A larger network of another kind, whose mistakes are others: with the flagship it is right more often than either.
larger() {
    stage vgg10 --model vgg10 --mixed-precision --set noise=0.05 --set validation=apart
}

# On from the weights of a run, by what both say of each view. What they said is kept in said/, for the next pupil.
taught() {
    run=$1 from=$2
    shift 2
    stage "$run" "$@" --start "runs/$from" --teacher runs/vgg10,runs/flagship-3 --mixed-precision --epochs 24 \
        --learning-rate 0.02 --set fall_epochs=14 --set warmup_epochs=1 --set small_epochs=0 --set noise=0.05 \
        --set validation=apart --set teacher_temperature=2 --set teacher_cache=said --seed 4
}

untaught_flagship
larger
case $model in
flagship)
    trained=flagship-4 ranges=minmax balance=auto
    taught $trained flagship-3 --recipe flagship
    ;;
tiny)
    stage tiny --model tiny
    # Again, with sharpness-aware steps.
    stage tiny-sam --model tiny --start runs/tiny --epochs 12 --schedule cosine --learning-rate 0.02 \
        --set warmup_epochs=1 --set small_epochs=0 --set sharpness=0.1
    last tiny-2 --model tiny --start runs/tiny,runs/tiny-sam
    trained=tiny-3 ranges=mse balance=0  # closer to float on the validation faces
    taught $trained tiny-2 --model tiny --set erase=0.4
    ;;
esac

if [ -e calibration.json ]; then
    echo "calibration.json is here already and is taken; delete it to draw another"
else
    fer-edge calibrate --data "$data" --count 512 --seed 0 --out calibration.json
fi
if [ -e "bundles/$model/bundle.json" ]; then
    echo "bundles/$model is here already and stays; delete it to convert runs/$trained again"
else
    fer-edge convert "runs/$trained" --int8 --ranges $ranges --balance $balance --calibration calibration.json \
        --out "bundles/$model"
fi
