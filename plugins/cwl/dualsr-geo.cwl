# OGC Best Practice for Earth Observation Application Packages (20-089r1): a Workflow with one step, STAC in and out.
cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
s:softwareVersion: 0.2.0
s:name: dualsr-geo
s:description: Sharpens multispectral and hyperspectral scenes on their map grid, guided by a sharper image or unguided.
s:license: Apache-2.0
$graph:
  - class: Workflow
    id: dualsr-geo
    label: Sharpen satellite scenes
    doc: Sharpens the scene of every STAC item of a catalog, with the item's own sharper asset as the guide where it has one.
    inputs:
      items:
        label: Catalog
        doc: A staged folder with catalog.json, its STAC items and their assets.
        type: Directory
      asset:
        label: Scene
        doc: The key of the asset that is the scene; left out, the asset with the role data.
        type: string?
      guide:
        label: Guide
        doc: The key of the asset that is the guide, e.g. pan; left out, the sharper bands of a product as delivered.
        type: string?
      scale:
        label: Ratio
        doc: Ratio of pixel sizes; left out with a guide, the largest that it allows.
        type: int?
      model:
        label: Model
        doc: auto, regression, interpolation or another of `dualsr-geo models list`.
        type: string
        default: auto
      jobs:
        label: Tiles at once
        doc: Left out, one a core.
        type: int?
    outputs:
      products:
        type: Directory
        outputSource: sharpen/products
    steps:
      sharpen:
        run: "#sharpen"
        in:
          items: items
          asset: asset
          guide: guide
          scale: scale
          model: model
          jobs: jobs
        out: [products]
  - class: CommandLineTool
    id: sharpen
    hints:
      DockerRequirement:
        # Built from plugins/cwl/Dockerfile; put your registry before it.
        dockerPull: dualsr-geo-cwl:0.2.0
    requirements:
      ResourceRequirement:
        coresMin: 1
        ramMin: 4096
      NetworkAccess:
        networkAccess: false
    baseCommand: [dualsr-geo, batch]
    arguments:
      - position: 1
        valueFrom: $(inputs.items.path)/catalog.json
      - prefix: --output
        position: 2
        valueFrom: products
      - --stac
      - --quiet
    inputs:
      items:
        type: Directory
      asset:
        type: string?
        inputBinding:
          prefix: --asset
      guide:
        type: string?
        inputBinding:
          prefix: --guide
      scale:
        type: int?
        inputBinding:
          prefix: --scale
      model:
        type: string
        inputBinding:
          prefix: --model
      jobs:
        type: int?
        inputBinding:
          prefix: --jobs
    outputs:
      products:
        doc: A folder with catalog.json, an item of each product, and the products as Cloud Optimized GeoTIFFs.
        type: Directory
        outputBinding:
          glob: products
