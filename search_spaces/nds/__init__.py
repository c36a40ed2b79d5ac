"""The search spaces of NDS that stack blocks: ResNet, ResNeXt-A, ResNeXt-B and Vanilla; networks and ground truth."""
